"""What kustomize makes of deploy/kubernetes; `make kubernetes-test` runs these."""

import copy
import shutil
from pathlib import Path

import pytest

from tests.kubernetes.manifests import Manifests, build, copy_tree


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_tree(tmp_path_factory.mktemp("kubernetes"))


@pytest.fixture(scope="session")
def overlay(tree: Path) -> Manifests:
    """What roll.sh brings into the cluster."""
    return Manifests(build(tree / "production"))


@pytest.fixture(scope="session")
def with_gateway(tree: Path, overlay: Manifests) -> Manifests:
    return Manifests(overlay.documents + build(tree / "gateway"))


@pytest.fixture(scope="session")
def with_ingress(tree: Path) -> Manifests:
    """As its comment says: ingress.yaml in the place of route.yaml."""
    other = tree / "with-ingress"
    shutil.copytree(tree / "production", other)
    file = other / "kustomization.yaml"
    file.write_text(file.read_text().replace("  - route.yaml", "  - ingress.yaml"))
    return Manifests(build(other))


@pytest.fixture(scope="session", params=["gateway", "ingress"])
def production(request: pytest.FixtureRequest) -> Manifests:
    made: Manifests = request.getfixturevalue(f"with_{request.param}")
    return made


@pytest.fixture
def all_(with_gateway: Manifests) -> Manifests:
    """The overlay, for a test that does not ask for the way in."""
    return Manifests(copy.deepcopy(with_gateway.documents))
