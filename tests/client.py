"""What the tests ask of umusic over HTTP, in a few words."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from tests import described

#: Runs a test directly and through nginx.
both_ways = pytest.mark.parametrize("via", ["direct", "nginx"], indirect=True)


@dataclass(frozen=True)
class Account:
    """A registered user."""

    id: str
    token: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def as_json(response: HTTPResponse) -> Any:
    return json.loads(response.body)


def form(
    fields: dict[str, str], file: bytes | None, filename: str = "take.wav", boundary: str = "b0und"
) -> tuple[str, bytes]:
    """A multipart/form-data body with the fields before the file, and its Content-Type."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if file is not None:
        head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: audio/wav\r\n\r\n"
        )
        parts.append(head.encode() + file + b"\r\n")
    return f"multipart/form-data; boundary={boundary}", b"".join(
        parts
    ) + f"--{boundary}--\r\n".encode()


class Client:
    """A client of the umusic at `site`."""

    def __init__(self, site: str, http: AsyncHTTPClient) -> None:
        self.site = site
        self._http = http

    async def fetch(self, path: str, **options: Any) -> HTTPResponse:
        url = path if path.startswith("http") else self.site + path
        options.setdefault("raise_error", False)
        options.setdefault("request_timeout", 60)
        options.setdefault("allow_nonstandard_methods", True)
        response = await self._http.fetch(url, **options)
        described.check(options.get("method", "GET"), response)
        return response

    async def register(self, name: str = "Ann") -> Account:
        response = await self.fetch("/user", method="POST", body=json.dumps({"name": name}))
        assert response.code == 201, response.body
        user = as_json(response)
        return Account(user["id"], user["token"])

    async def upload(
        self,
        account: Account | None,
        wav: bytes,
        *,
        name: str | None = None,
        method: str = "POST",
        path: str = "/record",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> HTTPResponse:
        query = f"?{urlencode({'name': name})}" if name is not None else ""
        bearer = account.bearer if account else {}
        return await self.fetch(
            path + query,
            method=method,
            body=wav,
            headers={**bearer, **(headers or {})},
            **options,
        )

    async def upload_chunked(
        self,
        account: Account,
        pieces: Iterable[bytes] | AsyncIterator[bytes],
        path: str = "/record",
    ) -> HTTPResponse:
        """Sends the pieces with Transfer-Encoding: chunked."""

        async def produce(write: Callable[[bytes], Awaitable[None]]) -> None:
            if isinstance(pieces, AsyncIterator):
                async for piece in pieces:
                    await write(piece)
            else:
                for piece in pieces:
                    await write(piece)

        return await self.fetch(path, method="PUT", body_producer=produce, headers=account.bearer)
