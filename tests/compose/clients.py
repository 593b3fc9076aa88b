"""What clients do to umusic in containers, one request or many."""

import collections
import json
import logging
import threading
from pathlib import Path
from typing import Any

import httpx

from tests.compose.stack import Stack


def bearer(user: dict[str, Any]) -> tuple[str, str]:
    return "-H", f"Authorization: Bearer {user['token']}"


def upload(stack: Stack, user: dict[str, Any], wav: Path, *options: str) -> dict[str, Any]:
    status, _, body = stack.curl("/record/", *bearer(user), "-T", wav, *options)
    assert status == 201, body
    return dict(json.loads(body))


def records_of(stack: Stack, user: dict[str, Any]) -> dict[str, str]:
    """The names in a user's library, and their links."""
    found, query = {}, "limit=1000"
    while True:
        page = json.loads(stack.curl(f"/records?{query}", *bearer(user))[2])
        found |= {item["name"]: item["link"] for item in page["items"]}
        if page["next"] is None:
            return found
        query = f"limit=1000&cursor={page['next']}"


def uploads_by_curl(
    stack: Stack, user: dict[str, Any], wav: Path, number: int, over: threading.Event
) -> "collections.Counter[int]":
    """One upload after the other, each over a connection of its own: how many of which status."""
    counts = collections.Counter[int]()
    while not over.is_set():
        name = f"{number}-{counts.total()}"
        status, headers, _ = stack.curl(f"/record?name={name}", *bearer(user), "-T", wav)
        assert status == 201, str(stack.logged(headers["x-request-id"]))
        counts[status] += 1
    return counts


def kept_connection(
    stack: Stack, user: dict[str, Any], wav: Path, link: str, number: int, over: threading.Event
) -> "collections.Counter[int]":
    """Uploads and downloads by turns over one connection."""
    counts = collections.Counter[int]()
    headers = {"Authorization": f"Bearer {user['token']}"}
    body = wav.read_bytes()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60) as client:

        def ask(method: str, path: str, **options: Any) -> httpx.Response:
            try:
                return client.request(method, path, **options)
            except httpx.RemoteProtocolError:
                # An older nginx that reloads closes connections that are kept idle, maybe just as
                # one is used again: RFC 9112, 9.3.1, has the client ask once more.
                assert stack.env["NGINX_TAG"] == "stable"
                return client.request(method, path, **options)

        while not over.is_set():
            name = f"{number}-{counts.total()}"
            key = {"Idempotency-Key": name}
            for reply in (
                ask("POST", f"/record?name={name}", content=body, headers=key),
                ask("GET", link),
            ):
                assert reply.status_code in (200, 201), str(
                    stack.logged(reply.headers["x-request-id"])
                )
                counts[reply.status_code] += 1
    return counts
