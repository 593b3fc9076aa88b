"""deploy/kubernetes/roll.sh: the migration comes first, and what fails changes nothing."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.manifests import Manifests, named

pytestmark = pytest.mark.kubernetes


def roll(tree: Path, cluster: Cluster, directory: Path) -> "subprocess.CompletedProcess[str]":
    """kubectl is the real one. What was changed before is forgotten."""
    cluster.changes.clear()
    with cluster.running(directory) as config:
        return subprocess.run(
            ["sh", tree / "roll.sh"],
            env={"PATH": os.environ["PATH"], "HOME": str(directory), "KUBECONFIG": str(config)},
            capture_output=True,
            text=True,
            timeout=300,
        )


def test_an_update_migrates_before_it_changes_umusic(
    overlay: Manifests, tree: Path, tmp_path: Path
) -> None:
    cluster = Cluster(overlay.documents, "Complete")
    done = roll(tree, cluster, tmp_path)
    assert done.returncode == 0, done.stderr
    made = [name for _, name in cluster.changes]
    assert {named(document) for document in overlay.documents} == set(made)
    migrated = made.index("Job/migrate")
    assert made.index("Deployment/app") > migrated
    needed = [named(each) for each in overlay.documents if each["kind"] in ("ConfigMap", "Secret")]
    assert all(made.index(name) < migrated for name in needed)

    # Another image: a Job cannot be changed, so it is another one.
    file = tree / "production" / "kustomization.yaml"
    before = file.read_text()
    file.write_text(before.replace("newTag: 0.1.0", "newTag: 0.2.0"))
    done = roll(tree, cluster, tmp_path)
    file.write_text(before)
    assert done.returncode == 0, done.stderr
    changes = cluster.changes
    assert changes.index(("delete", "Job/migrate")) < changes.index(("create", "Job/migrate"))
    assert changes.index(("create", "Job/migrate")) < changes.index(("change", "Deployment/app"))


def test_an_update_whose_migration_fails_leaves_umusic_as_it_is(
    overlay: Manifests, tree: Path, tmp_path: Path
) -> None:
    cluster = Cluster(overlay.documents, "Failed", said="umusic: There is no host db.\n")
    done = roll(tree, cluster, tmp_path)
    assert done.returncode == 1
    assert "The migration fails" in done.stdout
    assert "umusic: There is no host db." in done.stdout
    changed = {name for _, name in cluster.changes}
    assert "Job/migrate" in changed
    assert not {"Deployment/app", "Deployment/nginx"} & changed
