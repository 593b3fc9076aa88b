"""A client of draft-ietf-httpbis-resumable-upload, no cleverer than the tests need; but it sees
interim answers. What comes back is not held against /openapi.json, which tells of no draft.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from tornado.httputil import HTTPHeaders

from tests import leaks
from tests.client import Account

VERSION = "Upload-Draft-Interop-Version"
PARTIAL = {"Content-Type": "application/partial-upload"}
REGISTRY = "https://iana.org/assignments/http-problem-types#"


def flag(value: bool) -> str:
    return "?1" if value else "?0"


def content_digest(data: bytes) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return {"Content-Digest": f"sha-256=:{digest}:"}


@dataclass(frozen=True)
class Answer:
    """A final answer, and the interim ones that came before."""

    code: int
    headers: HTTPHeaders
    body: bytes = b""
    interim: list["Answer"] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> tuple[int, str]:
        """The status, and the kind of problem: a registered one in full."""
        assert self.json["status"] == self.code
        return self.code, self.json["type"].removeprefix("/problems/")


class Line:
    """A connection by which one request goes, piece by piece."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> Answer:
        """The next answer's head, which may be an interim one's."""
        first, _, rest = (await self._reader.readuntil(b"\r\n\r\n")).decode().partition("\r\n")
        headers = HTTPHeaders.parse(rest)
        if "/uploads/" in headers.get("Location", ""):
            leaks.unshown(headers["Location"].rpartition("/")[2])
        return Answer(int(first.split()[1]), headers)

    async def answer(self, method: str) -> Answer:
        """All answers, up to the final one."""
        interim: list[Answer] = []
        while (head := await self.head()).code < 200:
            interim.append(head)
        size = 0 if method == "HEAD" else int(head.headers.get("Content-Length", "0"))
        body = await self._reader.readexactly(size)
        return Answer(head.code, head.headers, body, interim)


class HasSite(Protocol):
    """Who knows where umusic is."""

    @property
    def site(self) -> str: ...


@dataclass(frozen=True)
class Draft:
    """Speaks the draft to the umusic of `client`."""

    client: HasSite
    account: Account | None = None
    version: int = 9

    @contextlib.asynccontextmanager
    async def line(
        self, method: str, url: str, headers: dict[str, str], *, http: str = "1.1"
    ) -> AsyncIterator[Line]:
        """A request whose head is sent; a header that is "" is left out."""
        site = urlsplit(self.client.site)
        path = url.removeprefix(self.client.site)
        bearer = self.account.bearer if self.account else {}
        told = {"Host": site.netloc, VERSION: str(self.version), **bearer, **headers}
        lines = [f"{name}: {value}" for name, value in told.items() if value]
        reader, writer = await asyncio.open_connection(site.hostname, site.port)
        try:
            line = Line(reader, writer)
            head = [f"{method} {path} HTTP/{http}", *lines, "", ""]
            await line.send("\r\n".join(head).encode())
            yield line
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        **options: str,
    ) -> Answer:
        size = {} if body is None else {"Content-Length": str(len(body))}
        async with self.line(method, url, {**size, **(headers or {})}, **options) as line:
            async with asyncio.timeout(20):
                await line.send(body or b"")
                return await line.answer(method)

    async def create(
        self,
        body: bytes,
        *,
        last: bool,
        length: int | None = None,
        path: str = "/record",
        method: str = "POST",
        **headers: str,
    ) -> Answer:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        size = {} if length is None else {"Upload-Length": str(length)}
        return await self.ask(method, path, {"Upload-Complete": flag(last), **size, **told}, body)

    async def begin(self, length: int | None = None) -> str:
        """Creates an upload without a byte; returns its URL."""
        answer = await self.create(b"", last=False, length=length)
        assert (answer.code, answer.headers["Upload-Complete"]) == (201, "?0"), answer
        return str(answer.headers["Location"])

    async def append(
        self, url: str, offset: int, data: bytes, *, last: bool, **headers: str
    ) -> Answer:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        state = {"Upload-Offset": str(offset), "Upload-Complete": flag(last)}
        return await self.ask("PATCH", url, {**PARTIAL, **state, **told}, data)

    async def offset(self, url: str) -> int:
        answer = await self.ask("HEAD", url)
        assert (answer.code, answer.headers["Cache-Control"]) == (204, "no-store"), answer
        return int(answer.headers["Upload-Offset"])
