"""What kustomize makes of base and overlay fits the published schemas, leads to what is there, and
lets pods do and reach no more than they must; what does not is found."""

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.manifests import (
    ROOT,
    Manifests,
    Pod,
    build,
    container,
    named,
    schema_faults,
    spec,
)
from tests.kubernetes.network import Peer, may_come, may_go, peer
from tests.kubernetes.review import faults

pytestmark = pytest.mark.kubernetes

#: The oldest that has all that is used (preStop's sleep), and the newest that is published here.
VERSIONS = ("1.30", "1.37")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_document_fits_the_published_schema(production: Manifests, version: str) -> None:
    assert len(production.documents) > 15
    assert not schema_faults(production, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_base_lacks_only_what_is_ones_own(tree: Path, version: str) -> None:
    base = Manifests(build(tree / "base"))
    assert not schema_faults(base, version)
    assert set(faults(base)) == {
        "Deployment/app names Secret/umusic, which is not there",
        "Job/migrate names Secret/umusic, which is not there",
        "Deployment/app has an image that changes: umusic",
        "Job/migrate has an image that changes: umusic",
    }


def test_names_lead_somewhere_and_pods_may_do_no_more_than_they_must(
    production: Manifests,
) -> None:
    assert not faults(production)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda a: container(a).update(imagePullPolice="Always"), "imagePullPolice"),
        (
            lambda a: container(a).pop("image") and container(a).pop("name"),
            "'name' is a required",
        ),
        (lambda a: spec(a, "Deployment", "nginx").update(replicas="two"), "'two' is not"),
        (lambda a: spec(a, "HTTPRoute", "umusic")["rules"][0].update(timeout="0s"), "'timeout'"),
        (lambda a: spec(a, "Gateway", "gateway").pop("gatewayClassName"), "gatewayClassName"),
        (lambda a: spec(a, "NetworkPolicy", "app").update(podSelectors={}), "podSelectors"),
    ],
)
def test_what_the_schema_does_not_know_is_refused(
    all_: Manifests, damage: Callable[[Manifests], object], told: str
) -> None:
    damage(all_)
    (found,) = schema_faults(all_, VERSIONS[-1])
    assert told in found


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            lambda a: spec(a, "Service", "app").update(selector={"of": "nobody"}),
            "Service/app selects no pods",
        ),
        (
            lambda a: spec(a, "Deployment", "app")["selector"].update(matchLabels={"of": "nobody"}),
            "Deployment/app does not select its own pods",
        ),
        (
            lambda a: spec(a, "PodDisruptionBudget", "app")["selector"].update(
                matchLabels={"of": "nobody"}
            ),
            "PodDisruptionBudget/app selects no pods",
        ),
        (
            lambda a: a.documents.remove(a.get("Secret", _secret(a))),
            "Deployment/app names Secret/",
        ),
        (
            lambda a: container(a)["livenessProbe"]["httpGet"].update(port="web"),
            "livenessProbe asks a port that is not its container's",
        ),
        (
            lambda a: spec(a, "Service", "nginx")["ports"][0].update(targetPort="web"),
            "Service/nginx leads to a port that Deployment/nginx has not",
        ),
        (
            lambda a: spec(a, "HTTPRoute", "umusic")["rules"][0]["backendRefs"][0].update(port=81),
            "HTTPRoute/umusic leads to a port that Service/nginx has not",
        ),
        (
            lambda a: spec(a, "HTTPRoute", "umusic")["parentRefs"][0].update(sectionName="tls"),
            "HTTPRoute/umusic has a listener that is not there",
        ),
        (
            lambda a: spec(a, "HTTPRoute", "umusic")["parentRefs"][0].pop("namespace"),
            "HTTPRoute/umusic has a Gateway that is in another namespace",
        ),
        (
            lambda a: spec(a, "Gateway", "gateway")["listeners"][1].pop("allowedRoutes"),
            "HTTPRoute/umusic has a listener that is not for its namespace",
        ),
        (
            lambda a: spec(a, "NetworkPolicy", "app")["ingress"][0]["ports"][0].update(port="web"),
            "NetworkPolicy/app opens a port that its pods have not",
        ),
        (lambda a: a.pod("app").spec["volumes"].pop(), "mounts tmp, which is not there"),
        (
            lambda a: a.pod("app").spec["volumes"][0].update(emptyDir={}),
            "media has no limit",
        ),
        (
            lambda a: a.pod("nginx").spec["securityContext"].update(runAsUser=0),
            "Deployment/nginx may run as root",
        ),
        (
            lambda a: container(a, "migrate")["securityContext"].pop("readOnlyRootFilesystem"),
            "Job/migrate may write to its image",
        ),
        (
            lambda a: a.pod("app").owner["spec"]["template"]["spec"].pop("enableServiceLinks"),
            "Deployment/app is told of Services",
        ),
        (lambda a: container(a)["resources"].pop("limits"), "may take all memory"),
        (
            lambda a: container(a, "nginx").update(image="nginx:stable"),
            "has an image that changes: nginx:stable",
        ),
        (lambda a: spec(a, "Deployment", "app").update(replicas=3), "the autoscaler's to say"),
        (
            lambda a: (
                a.pod("app")
                .owner["spec"]["template"]["spec"]
                .update(terminationGracePeriodSeconds=3600)
            ),
            "takes pods away faster than they drain",
        ),
    ],
)
def test_what_leads_nowhere_or_may_do_too_much_is_found(
    all_: Manifests, damage: Callable[[Manifests], object], told: str
) -> None:
    damage(all_)
    assert any(told in fault for fault in faults(all_))


def _secret(all_: Manifests) -> str:
    return str(next(all_.of("Secret"))["metadata"]["name"])


def with_what_readme_adds(tree: Path, number: int) -> Path:
    """The overlay with what README.md has, in this place, for its kustomization.yaml."""
    text = (tree / "README.md").read_text()
    shown = text.split("`production/kustomization.yaml`:\n\n```\n")[number].partition("\n```")[0]
    other = tree / f"with-{number}"
    shutil.copytree(tree / "production", other)
    own = yaml.safe_load((other / "kustomization.yaml").read_text())
    for key, more in yaml.safe_load(shown).items():
        own[key] += more
    (other / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return other


def test_an_authority_of_ones_own_is_where_umusic_looks_for_it(tree: Path) -> None:
    other = with_what_readme_adds(tree, 1)
    (other / "ca.pem").write_text("a certificate")
    made = Manifests(build(other) + build(tree / "gateway"))
    assert not schema_faults(made, VERSIONS[-1])
    assert not faults(made)
    for name in ("app", "migrate"):
        mounts = {each["mountPath"]: each["name"] for each in container(made, name)["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in made.pod(name).spec["volumes"]}
        config = volumes[mounts["/etc/postgres"]]["configMap"]["name"]
        assert made.get("ConfigMap", config)["data"] == {"ca.pem": "a certificate"}
    assert "authority" not in {each["name"] for each in made.pod("nginx").spec["volumes"]}


def test_a_volume_that_is_shared_takes_the_place_of_the_pods_own(tree: Path) -> None:
    """As README.md has it, with a claim of the simplest kind."""
    other = with_what_readme_adds(tree, 2)
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "parts"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "100Gi"}},
        },
    }
    (other / "parts.yaml").write_text(yaml.safe_dump(claim))
    shared = Manifests(build(other) + build(tree / "gateway"))
    assert not schema_faults(shared, VERSIONS[-1])
    assert not faults(shared)
    (mount,) = (each for each in container(shared)["volumeMounts"] if each["name"] == "media")
    assert mount["mountPath"] == "/srv/media"
    volumes = {volume["name"]: volume for volume in shared.pod("app").spec["volumes"]}
    assert volumes["media"]["persistentVolumeClaim"] == {"claimName": "parts"}


# --- the network

OUTSIDE = Peer(address="198.51.100.7")
GATEWAY = Peer({"of": "a gateway"}, namespace="gateway")
CREDENTIALS = Peer(address="169.254.170.23")
NODE = Peer(address="169.254.169.254")
PROMETHEUS_POD = Peer({"app.kubernetes.io/name": "prometheus"}, namespace="monitoring")
STRANGER = Peer({"app.kubernetes.io/component": "nginx"}, namespace="another")
DNS = Peer({"k8s-app": "kube-dns"}, namespace="kube-system")


def test_pods_reach_what_they_need_and_nothing_else(all_: Manifests) -> None:
    app, nginx, migrate = map(all_.pod, ("app", "nginx", "migrate"))
    assert may_come(all_, GATEWAY, nginx, "http")
    assert may_come(all_, peer(nginx), app, "http")
    assert may_come(all_, PROMETHEUS_POD, app, "http")
    assert may_go(all_, nginx, peer(app), "http", 8000)
    for pod in (app, nginx, migrate):
        assert may_go(all_, pod, DNS, 53)
    for pod, port in ((app, 5432), (app, 443), (nginx, 443), (migrate, 5432)):
        assert may_go(all_, pod, OUTSIDE, port)
    assert may_go(all_, app, CREDENTIALS, 80)

    for source in (STRANGER, OUTSIDE, GATEWAY, peer(app), peer(migrate)):
        assert not may_come(all_, source, app, "http")
    for source in (STRANGER, OUTSIDE, PROMETHEUS_POD, peer(app), peer(migrate)):
        assert not may_come(all_, source, nginx, "http")
    assert not may_come(all_, peer(nginx), migrate, "http")
    for pod, port in ((nginx, 5432), (migrate, 443), (app, 80), (nginx, 22)):
        assert not may_go(all_, pod, OUTSIDE, port)
    assert not may_go(all_, app, NODE, 80)


def test_each_pod_is_covered_both_ways_whatever_is_added(all_: Manifests) -> None:
    owner = copy.deepcopy(all_.pod("app").owner)
    owner["metadata"]["name"] = "new"
    owner["spec"]["template"]["metadata"]["labels"] = {"of": "something new"}
    all_.documents.append(owner)
    assert not may_come(all_, GATEWAY, Pod(owner), "http")
    assert not may_go(all_, Pod(owner), OUTSIDE, 443)


# --- secrets


def test_secrets_are_in_no_file_of_git_and_in_no_other_document(
    all_: Manifests, tree: Path
) -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/deploy/kubernetes/*/secret.env" in ignored
    names = re.findall(r"^(\w+)=", (tree / "production" / "secret.env").read_text(), re.M)
    for config in all_.of("ConfigMap"):
        assert not set(names) & config["data"].keys(), named(config)
