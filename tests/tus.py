"""A client of tus 1.0.0, no cleverer than the tests need."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from tornado.httpclient import HTTPResponse

from tests import leaks
from tests.client import Account, Client, as_json

VERSION = {"Tus-Resumable": "1.0.0"}
STREAM = {"Content-Type": "application/offset+octet-stream"}


def metadata(**pairs: str) -> dict[str, str]:
    """The header Upload-Metadata."""
    words = (f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
    return {"Upload-Metadata": ",".join(words)} if pairs else {}


def checksum(data: bytes, algorithm: str = "sha1") -> dict[str, str]:
    """The header Upload-Checksum."""
    digest = base64.b64encode(hashlib.new(algorithm, data).digest()).decode()
    return {"Upload-Checksum": f"{algorithm} {digest}"}


def problem(response: HTTPResponse) -> tuple[int, str]:
    assert response.headers["Tus-Resumable"] == "1.0.0"
    return response.code, as_json(response)["type"].removeprefix("/problems/")


@dataclass(frozen=True)
class Tus:
    """Speaks tus to the umusic of `client`."""

    client: Client
    account: Account | None = None

    async def ask(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> HTTPResponse:
        """A request; a header that is "" is left out."""
        told = {**VERSION, **(headers or {})}
        return await self.client.fetch(
            url,
            method=method,
            headers={name: value for name, value in told.items() if value},
            body=body if body or method in ("POST", "PATCH") else None,
        )

    async def create(
        self, length: int | None, body: bytes = b"", *, path: str = "/uploads", **headers: str
    ) -> HTTPResponse:
        size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        bearer = self.account.bearer if self.account else {}
        typed = STREAM if body else {}
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask("POST", path, {**bearer, **size, **typed, **told}, body)

    async def begin(self, length: int | None, **pairs: str) -> str:
        """Creates an upload; returns its URL."""
        response = await self.create(length, **metadata(**pairs))
        assert response.code == 201, response.body
        url = response.headers["Location"]
        leaks.unshown(url.rpartition("/")[2])
        return url

    async def patch(
        self, url: str, offset: int, data: bytes, headers: dict[str, str] | None = None
    ) -> HTTPResponse:
        told = {**STREAM, "Upload-Offset": str(offset), **(headers or {})}
        return await self.ask("PATCH", url, told, data)

    async def offset(self, url: str) -> int:
        response = await self.ask("HEAD", url)
        assert response.code == 200, response.code
        assert response.headers["Cache-Control"] == "no-store"
        return int(response.headers["Upload-Offset"])

    async def state(self, url: str) -> dict[str, Any]:
        response = await self.client.fetch(url)
        assert response.code == 200, response.body
        return dict(as_json(response))
