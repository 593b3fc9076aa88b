"""What kustomize makes of deploy/kubernetes, and what is in it."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[2]
Document = dict[str, Any]

#: Schemas that are not Kubernetes' own.
_GATEWAY_API = json.loads((Path(__file__).parent / "gateway-api.json").read_text())


def copy_tree(directory: Path) -> Path:
    """A copy of what kustomize reads, with the secrets of the example: its deploy/kubernetes."""
    for part in ("deploy", "nginx"):
        shutil.copytree(
            ROOT / part,
            directory / part,
            ignore=shutil.ignore_patterns("secret.env"),
            symlinks=True,
        )
    kubernetes = directory / "deploy" / "kubernetes"
    overlay = kubernetes / "production"
    shutil.copy(overlay / "secret.env.example", overlay / "secret.env")
    return kubernetes


def build(directory: Path) -> list[Document]:
    """What `kubectl apply -k` would send."""
    done = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Warnings are of what will not be taken one day.
    assert not done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def named(document: Document) -> str:
    """Its kind and name."""
    return f"{document['kind']}/{document['metadata']['name']}"


def _schema_fault(document: Document, version: str) -> str | None:
    """How it differs from the published schema of its kind; what that does not know is a fault."""
    try:
        if document["apiVersion"].startswith("gateway.networking.k8s.io/"):
            jsonschema.Draft7Validator(_GATEWAY_API[document["kind"]]).validate(document)
        else:
            kubernetes_validate.validate(document, version, strict=True)
    except jsonschema.ValidationError as exc:
        return f"{named(document)}: {exc.json_path}: {exc.message}"
    return None


@dataclass(frozen=True)
class Pod:
    """What a Deployment or a Job makes."""

    owner: Document

    @property
    def name(self) -> str:
        return named(self.owner)

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.owner["spec"]["template"]["metadata"]["labels"])

    @property
    def spec(self) -> Document:
        return dict(self.owner["spec"]["template"]["spec"])

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        """By name."""
        return {
            port["name"]: port["containerPort"]
            for container in self.containers
            for port in container.get("ports", [])
        }


class Manifests:
    """All documents of a build."""

    def __init__(self, documents: list[Document]) -> None:
        self.documents = documents

    def of(self, kind: str) -> Iterator[Document]:
        return (document for document in self.documents if document["kind"] == kind)

    def find(self, kind: str, name: str) -> Document | None:
        return next((found for found in self.of(kind) if found["metadata"]["name"] == name), None)

    def get(self, kind: str, name: str) -> Document:
        found = self.find(kind, name)
        assert found, f"there is no {kind}/{name}"
        return found

    def pods(self) -> list[Pod]:
        return [Pod(owner) for kind in ("Deployment", "Job") for owner in self.of(kind)]

    def pod(self, name: str) -> Pod:
        return next(pod for pod in self.pods() if pod.owner["metadata"]["name"] == name)

    def selected(self, labels: dict[str, str]) -> list[Pod]:
        return [pod for pod in self.pods() if labels.items() <= pod.labels.items()]

    def environment(self, container: Document) -> dict[str, str]:
        """What the container's process finds in its environment; later words win."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                found |= self.get("ConfigMap", source["configMapRef"]["name"])["data"]
            else:
                found |= _plain(self.get("Secret", source["secretRef"]["name"])["data"])
        for entry in container.get("env", []):
            if "value" in entry:
                found[entry["name"]] = entry["value"]
            else:
                section, _, name = entry["valueFrom"]["resourceFieldRef"]["resource"].partition(".")
                found[entry["name"]] = container["resources"][section][name]
        return found


def _plain(data: dict[str, str]) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def container(all_: Manifests, pod: str = "app") -> Document:
    """A pod's only one."""
    (found,) = all_.pod(pod).containers
    return found


def spec(all_: Manifests, kind: str, name: str) -> Document:
    """What a document wants."""
    found: Document = all_.get(kind, name)["spec"]
    return found


def schema_faults(all_: Manifests, version: str) -> list[str]:
    """How documents differ from the schemas of a version of Kubernetes: one fault of each."""
    return [fault for each in all_.documents if (fault := _schema_fault(each, version))]
