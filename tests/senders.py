"""Requests as real clients send them: curl (where it is installed), httpx and requests."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests


@dataclass(frozen=True)
class Request:
    """A request: `form` fields and the `file` (field, path) make a multipart form in this order,
    `wav` is a raw body that is streamed from the file."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    json: dict[str, Any] | None = None
    form: dict[str, str] = field(default_factory=dict)
    file: tuple[str, Path] | None = None
    wav: Path | None = None


@dataclass(frozen=True)
class Reply:
    """What came back; the names of the headers in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> tuple[int, str]:
        """The status and the kind of problem."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        assert self.json["status"] == self.status
        assert self.json["detail"]
        return self.status, self.json["type"].removeprefix("/problems/")


async def _by_curl(request: Request) -> Reply:
    args = [part for pair in request.headers.items() for part in ("-H", ": ".join(pair))]
    if request.json is not None:
        args += ["-d", json.dumps(request.json)]
    for name, value in request.form.items():
        args += ["-F", f"{name}={value}"]
    if request.file:
        args += ["-F", f"{request.file[0]}=@{request.file[1]}"]
    if request.wav:
        args += ["--data-binary", f"@{request.wav}"]
    if request.method not in ("GET", "POST"):
        args += ["-X", request.method]
    with tempfile.TemporaryDirectory() as scratch:
        head, body = Path(scratch) / "head", Path(scratch) / "body"
        body.touch()
        process = await asyncio.create_subprocess_exec(
            *("curl", "-sS", "--max-time", "60", "-D", head, "-o", body, *args, request.url)
        )
        assert await process.wait() == 0
        last = head.read_text("latin-1").replace("\r\n", "\n").strip().split("\n\n")[-1]
        status, *lines = last.split("\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return Reply(int(status.split()[1]), headers, body.read_bytes())


async def _by_httpx(request: Request) -> Reply:
    def call() -> Reply:
        with httpx.Client(timeout=60) as client:
            reply = client.request(
                request.method, request.url, headers=request.headers, **_body(request)
            )
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return Reply(reply.status_code, headers, reply.content)

    return await asyncio.to_thread(call)


async def _by_requests(request: Request) -> Reply:
    def call() -> Reply:
        with requests.Session() as session:
            body = _body(request)
            if "content" in body:
                body["data"] = body.pop("content")
            reply = session.request(
                request.method, request.url, headers=request.headers, timeout=60, **body
            )
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return Reply(reply.status_code, headers, reply.content)

    return await asyncio.to_thread(call)


def _body(request: Request) -> dict[str, Any]:
    """As httpx and requests take it."""
    if request.json is not None:
        return {"json": request.json}
    if request.wav:
        return {"content": request.wav.read_bytes()}
    body: dict[str, Any] = {"data": request.form} if request.form else {}
    if request.file:
        name, path = request.file
        body["files"] = {name: (path.name, path.read_bytes())}
    return body


Send = Callable[[Request], Awaitable[Reply]]
SENDERS: dict[str, Send] = {"httpx": _by_httpx, "requests": _by_requests}
if shutil.which("curl"):
    SENDERS["curl"] = _by_curl

#: Runs a test with each client, in its argument `send`.
by_every_client = pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS.keys())
