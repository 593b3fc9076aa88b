"""What kubectl needs to believe that it speaks with a cluster: documents are kept as they come, and
whoever asks for them gets them. It decides nothing; its Jobs end as they are told, at once."""

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.kubernetes.manifests import Document, named

_PATH = re.compile(
    r"/apis?/(?P<version>v1|[^/]+/v\d)(/namespaces/(?P<space>[^/]+))?"
    r"(/(?P<plural>[a-z]+))(/(?P<name>[^/]+))?(/(?P<part>log))?"
)
_CONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{}}}}]
current-context: c
"""


class Cluster:
    """Knows the kinds of `documents`, and Pods. `job` is the condition that Jobs come to, `said`
    what their pods have in their logs."""

    def __init__(self, documents: list[Document], job: str, said: str = "") -> None:
        self.job, self.said = job, said
        #: What was changed, in that order: method, kind and name.
        self.changes: list[tuple[str, str]] = []
        self.kept: dict[tuple[str, str], Document] = {}
        self.kinds: dict[str, set[str]] = {"v1": {"Pod"}}
        for document in documents:
            self.kinds.setdefault(document["apiVersion"], set()).add(document["kind"])

    @contextlib.contextmanager
    def running(self, directory: Path) -> Iterator[Path]:
        """Listens; where kubectl is told of it."""
        handler = type("Handler", (_Handler,), {"cluster": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        config = directory / "kubeconfig"
        config.write_text(_CONFIG.format(port=server.server_address[1]))
        try:
            yield config
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def keep(self, document: Document) -> Document:
        if document["kind"] == "Job":
            self._end(document)
        if document["kind"] == "Deployment":
            count = document["spec"].setdefault("replicas", 1)
            counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            document["status"] = dict.fromkeys(counts, count)
        document["metadata"].setdefault("uid", named(document))
        self.kept[_plural(document["kind"]), document["metadata"]["name"]] = document
        return document

    def _end(self, job: Document) -> None:
        """What a cluster makes of a Job in the end: a pod, and a condition."""
        job["status"] = {"conditions": [{"type": self.job, "status": "True"}]}
        job["spec"]["selector"] = {"matchLabels": job["spec"]["template"]["metadata"]["labels"]}
        self.kept["pods", "migrate-1"] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "migrate-1", "namespace": job["metadata"]["namespace"]},
            "spec": job["spec"]["template"]["spec"],
            "status": {"phase": "Failed"},
        }


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        found = _discovery(self.cluster, parts.path)
        if found is None and (asked := _PATH.fullmatch(parts.path)):
            found = self._kept(asked, query)
        self._answer(found)

    def _kept(self, asked: re.Match[str], query: dict[str, str]) -> Any:
        if asked["part"] == "log":
            return self.cluster.said
        if asked["name"]:
            return self.cluster.kept.get((asked["plural"], asked["name"]))
        wanted = query.get("fieldSelector", "").removeprefix("metadata.name=")
        items = [
            document
            for (plural, name), document in self.cluster.kept.items()
            if plural == asked["plural"] and wanted in ("", name)
        ]
        if "watch" in query:
            return ""
        kind = next(
            k for k in self.cluster.kinds[asked["version"]] if _plural(k) == asked["plural"]
        )
        return {
            "kind": f"{kind}List",
            "apiVersion": asked["version"],
            "metadata": {"resourceVersion": "1"},
            "items": items,
        }

    def do_POST(self) -> None:
        document = json.loads(self._body())
        self.cluster.changes.append(("create", named(document)))
        self._answer(self.cluster.keep(document), 201)

    def do_PATCH(self) -> None:
        asked = _PATH.fullmatch(urlsplit(self.path).path)
        assert asked
        document = self.cluster.kept[asked["plural"], asked["name"]]
        self._body()
        self.cluster.changes.append(("change", named(document)))
        self._answer(document)

    def do_DELETE(self) -> None:
        asked = _PATH.fullmatch(urlsplit(self.path).path)
        assert asked
        self._body()
        document = self.cluster.kept.pop((asked["plural"], asked["name"]), None)
        if document:
            self.cluster.changes.append(("delete", named(document)))
        self._answer(document)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, found: Any, status: int = 200) -> None:
        if found is None:
            status, found = 404, {"kind": "Status", "apiVersion": "v1", "reason": "NotFound"}
            found |= {"status": "Failure", "code": 404}
        body = found.encode() if isinstance(found, str) else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _plural(kind: str) -> str:
    small = kind.lower()
    return f"{small.removesuffix('y')}ies" if small.endswith("y") else f"{small}s"


def _discovery(cluster: Cluster, path: str) -> Document | None:
    """Which kinds there are, and that unknown fields are the cluster's to find."""
    groups = sorted(version for version in cluster.kinds if "/" in version)
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [{"groupVersion": each, "version": each.partition("/")[2]} for each in groups]
        listed = [
            {"name": each["groupVersion"].partition("/")[0], "versions": [each]}
            for each in versions
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
    if path == "/openapi/v3":
        paths = {f"{_root(version)}": f"/openapi/v3/{_root(version)}" for version in cluster.kinds}
        return {"paths": {root: {"serverRelativeURL": url} for root, url in paths.items()}}
    for version, kinds in cluster.kinds.items():
        if path == f"/{_root(version)}":
            resources = [_resource(kind) for kind in kinds]
            return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        if path == f"/openapi/v3/{_root(version)}":
            return _openapi(version, kinds)
    return None


def _root(version: str) -> str:
    return f"apis/{version}" if "/" in version else f"api/{version}"


def _resource(kind: str) -> Document:
    verbs = ["create", "delete", "get", "list", "patch", "watch"]
    namespaced = kind != "Namespace"
    return {"name": _plural(kind), "namespaced": namespaced, "kind": kind, "verbs": verbs}


def _openapi(version: str, kinds: set[str]) -> Document:
    group, _, number = version.rpartition("/")
    return {
        "openapi": "3.0.0",
        "info": {"title": "", "version": ""},
        "paths": {
            f"/{_root(version)}/{_plural(kind)}/{{name}}": {
                "patch": {
                    "parameters": [{"name": "fieldValidation", "in": "query"}],
                    "responses": {},
                    "x-kubernetes-group-version-kind": {
                        "group": group,
                        "version": number,
                        "kind": kind,
                    },
                }
            }
            for kind in kinds
        },
    }
