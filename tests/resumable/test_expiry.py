"""Uploads that have been given up are gone within a minute of their time, by themselves."""

import time
from http.client import HTTPConnection
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from tests import leaks
from tests.process import Process
from tests.resumable.conftest import ask
from tests.stores import files_in
from tests.wavs import take

pytestmark = pytest.mark.tus

WAV = take(1.0)
VERSION = {"Tus-Resumable": "1.0.0"}
STREAM = {"Content-Type": "application/offset+octet-stream"}


def begin(umusic: Process) -> str:
    """Sends half of an upload; returns its URL."""
    token = umusic.register("Ann")
    told = {**VERSION, "Authorization": f"Bearer {token}", "Upload-Length": str(len(WAV))}
    connection: HTTPConnection = umusic.connect()
    connection.request("POST", "/uploads", headers=told)
    created = connection.getresponse()
    created.read()
    url = str(created.headers["Location"])
    leaks.unshown(url.rpartition("/")[2])
    half = WAV[: len(WAV) // 2]
    connection.request(
        "PATCH", urlsplit(url).path, half, {**VERSION, **STREAM, "Upload-Offset": "0"}
    )
    reply = connection.getresponse()
    assert (reply.status, reply.headers["Upload-Offset"]) == (204, str(len(half)))
    return url


def test_what_is_given_up_is_gone_within_a_minute(start: Any) -> None:
    umusic = start(upload_expiry="2")
    url = begin(umusic)
    media = umusic.directory / "media"
    assert len(files_in(media, ".upload")) == 1
    expires = time.monotonic() + 2
    while files_in(media):
        assert time.monotonic() < expires + 60
        time.sleep(0.1)
    print(f"\ngone {time.monotonic() - expires:.1f} s after its time")
    with pytest.raises(HTTPError) as refused:
        ask(url)
    # Gone, and some time later unknown.
    assert refused.value.code in (404, 410)
    refused.value.close()
