"""The manifests fit umusic: its settings, probes and metrics, its drain, and its nginx."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.client import Client
from tests.front import TEMPLATES, Nginx
from tests.kubernetes.manifests import ROOT, Manifests, container, spec
from tests.kubernetes.review import probes
from umusic import settings
from umusic.settings import Settings

pytestmark = pytest.mark.kubernetes

PROMETHEUS = ROOT / "deploy" / "kubernetes" / "prometheus"


@pytest.mark.parametrize("name", ["app", "migrate"])
def test_the_environment_of_the_pods_is_settings_of_umusic(
    all_: Manifests, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    knobs = _settings(all_, name, monkeypatch, tmp_path)
    assert str(knobs.public_url).startswith("https://")
    assert knobs.x_accel_prefix == "/_media/"
    assert "postgres.example.org" in str(knobs.database_url)


def _settings(
    all_: Manifests, pod: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Settings:
    """As umusic reads them there: an unknown one is an error."""
    monkeypatch.chdir(tmp_path)
    for variable, value in all_.environment(container(all_, pod)).items():
        monkeypatch.setenv(variable, value)
    return settings.load()


def test_there_are_as_many_encoders_as_processors_and_the_autoscaler_knows(
    all_: Manifests, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoders = _settings(all_, "app", monkeypatch, tmp_path).encoders
    assert str(encoders) == container(all_)["resources"]["requests"]["cpu"]
    targets = {
        metric["pods"]["metric"]["name"]: metric["pods"]["target"]["averageValue"]
        for metric in spec(all_, "HorizontalPodAutoscaler", "app")["metrics"]
    }
    assert targets["umusic_encoders_busy"] == f"{800 * encoders}m"


@pytest.mark.parametrize("name", ["app", "nginx"])
def test_pods_are_left_alone_until_running_uploads_have_ended(
    all_: Manifests, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    drain = _settings(all_, "app", monkeypatch, tmp_path).drain_seconds
    before = container(all_, name)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert all_.pod(name).spec["terminationGracePeriodSeconds"] >= before + drain + 15


def test_an_update_takes_no_umusic_away_before_nginx_knows_another(all_: Manifests) -> None:
    app = spec(all_, "Deployment", "app")
    assert app["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    # What CoreDNS tells others to remember, unless set otherwise.
    assert app["minReadySeconds"] > 30
    assert container(all_)["lifecycle"]["preStop"]["sleep"]["seconds"] > 30
    # nginx gets the addresses of all of them from this name (nginx/replicas.sh).
    host, port = all_.environment(container(all_, "nginx"))["REPLICAS"].split(":")
    service = spec(all_, "Service", host)
    assert service["clusterIP"] == "None"
    assert {pod.name for pod in all_.selected(service["selector"])} == {"Deployment/app"}
    assert service["ports"][0]["port"] == int(port) == all_.pod("app").ports["http"]


@pytest.mark.gen_test
async def test_probes_ask_what_umusic_answers(all_: Manifests, client: Client) -> None:
    asked = {
        action["path"]
        for pod in all_.pods()
        for container in pod.containers
        for _, action in probes(container)
        if "path" in action
    }
    assert asked == {"/healthz", "/readyz"}
    for path in asked:
        assert (await client.fetch(path)).code == 200


@pytest.mark.gen_test
async def test_the_autoscaler_goes_by_what_metrics_tell(all_: Manifests, client: Client) -> None:
    told = set(
        re.findall(r"^# TYPE (\S+) gauge", (await client.fetch("/metrics")).body.decode(), re.M)
    )
    wanted = {
        metric["pods"]["metric"]["name"]
        for metric in spec(all_, "HorizontalPodAutoscaler", "app")["metrics"]
    }
    assert "umusic_encoder_queue" in wanted <= told
    rule = yaml.safe_load((PROMETHEUS / "adapter.yml").read_text())["rules"]["custom"][0]
    query = re.search(r'__name__=~"([^"]+)"', rule["seriesQuery"])
    assert query
    assert {name for name in told if re.fullmatch(query[1], name)} == wanted


def test_prometheus_finds_the_pods_and_labels_them_as_the_adapter_wants(all_: Manifests) -> None:
    job = yaml.safe_load((PROMETHEUS / "scrape.yml").read_text())["scrape_configs"][0]
    keep, *labels = job["relabel_configs"]
    pod = all_.pod("app")
    assert keep["regex"] == f"{pod.labels['app.kubernetes.io/component']};{next(iter(pod.ports))}"
    namespaces = job["kubernetes_sd_configs"][0]["namespaces"]["names"]
    assert namespaces == [pod.owner["metadata"]["namespace"]]
    rule = yaml.safe_load((PROMETHEUS / "adapter.yml").read_text())["rules"]["custom"][0]
    assert set(rule["resources"]["overrides"]) == {label["target_label"] for label in labels}


def test_so_does_the_prometheus_of_an_operator(all_: Manifests) -> None:
    monitor = yaml.safe_load((PROMETHEUS / "podmonitor.yml").read_text())
    pod = all_.pod("app")
    assert monitor["metadata"]["namespace"] == pod.owner["metadata"]["namespace"]
    (found,) = all_.selected(monitor["spec"]["selector"]["matchLabels"])
    assert found.name == pod.name
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == list(pod.ports)
    assert pod.labels[monitor["spec"]["jobLabel"]] == "umusic"


# --- nginx


def _templates(all_: Manifests) -> dict[str, str]:
    volumes = {volume["name"]: volume for volume in all_.pod("nginx").spec["volumes"]}
    data: dict[str, str] = all_.get("ConfigMap", volumes["templates"]["configMap"]["name"])["data"]
    return data


def test_nginx_has_all_templates_of_the_project_as_they_are(all_: Manifests) -> None:
    found = _templates(all_)
    for file in (*TEMPLATES.rglob("*.template"), TEMPLATES / "replicas.sh"):
        assert found.get(file.name) == file.read_text(), f"add {file} to nginx/kustomization.yaml"


def test_all_that_the_templates_leave_open_is_filled_in(all_: Manifests) -> None:
    templates = [text for name, text in _templates(all_).items() if name.endswith(".template")]
    wanted = {name for text in templates for name in re.findall(r"\$\{([A-Z_]+)\}", text)}
    environment = all_.environment(container(all_, "nginx"))
    # SERVERS is what replicas.sh finds.
    assert wanted <= {"SERVERS"} | environment.keys()
    paths = {mount["mountPath"] for mount in container(all_, "nginx")["volumeMounts"]}
    assert {environment["STATE_DIR"], "/etc/nginx/templates", "/etc/nginx/conf.d", "/run"} <= paths


@pytest.fixture
def nginx_of_the_pods(
    all_: Manifests, http_server: object, http_port: int, tmp_path: Path
) -> Nginx:
    """An nginx with the templates of the ConfigMap before umusic, that lets one address make a user
    a minute and 20 more at once."""
    templates = tmp_path / "templates"
    templates.mkdir()
    for name, text in _templates(all_).items():
        (templates / name).write_text(text)
    return Nginx(
        tmp_path / "of-the-pods",
        upstream=f"127.0.0.1:{http_port}",
        media=tmp_path,
        registrations="1r/m",
        templates=templates,
        store="127.0.0.1:1",
    )


@pytest.mark.gen_test
async def test_its_limits_are_for_the_address_that_the_gateway_tells(
    nginx_of_the_pods: Nginx, http_client: Any
) -> None:
    async def register(address: str, name: str) -> int:
        response = await http_client.fetch(
            f"{nginx_of_the_pods.url}/user",
            method="POST",
            body=f'{{"name": "{name}"}}',
            headers={"X-Forwarded-For": address},
            raise_error=False,
        )
        return int(response.code)

    with nginx_of_the_pods.running():
        of_one = [await register("203.0.113.7", f"one {i}") for i in range(22)]
        assert of_one == [201] * 21 + [429]
        assert await register("203.0.113.8", "another") == 201
