"""A tus upload against a plain one of the same file: how fast it is, and how soon there is a link.

Pairs alternate in one run, and whatever is compared is compared pair by pair. First at full speed:
throughput of one PATCH ÷ that of a PUT, creation included. Then paced at 5 MB/s: the seconds from
the last byte to the link of a PATCH less those of a PUT.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from bench.stack import Stack, music, running

PAIRS = 5
PACED_PAIRS = 5
PACE = 5_000_000
_PIECE = 64 * 1024

#: Sends a file to a site, at so many bytes per second if that is told; returns the seconds in all,
#: and those from the last byte to the reply.
Send = Callable[[Stack, str, Path, float | None], tuple[float, float]]


def send_plain(stack: Stack, base: str, wav: Path, pace: float | None) -> tuple[float, float]:
    """By PUT /record."""
    began = time.perf_counter()
    connection = HTTPConnection(urlsplit(base).netloc)
    headers = {"Authorization": f"Bearer {stack.token}"}
    lag, reply = _send(connection, "PUT", "/record", headers, wav, pace)
    assert reply["link"]
    return time.perf_counter() - began, lag


def send_resumably(stack: Stack, base: str, wav: Path, pace: float | None) -> tuple[float, float]:
    """By POST /uploads and one PATCH."""
    began = time.perf_counter()
    connection = HTTPConnection(urlsplit(base).netloc)
    version = {"Tus-Resumable": "1.0.0"}
    creation = {
        **version,
        "Authorization": f"Bearer {stack.token}",
        "Upload-Length": str(wav.stat().st_size),
    }
    connection.request("POST", "/uploads", headers=creation)
    created = connection.getresponse()
    created.read()
    assert created.status == 201
    path = urlsplit(created.headers["Location"]).path
    headers = {
        **version,
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
        "Prefer": "return=representation",
    }
    lag, reply = _send(connection, "PATCH", path, headers, wav, pace)
    assert reply["link"]
    return time.perf_counter() - began, lag


def _send(
    connection: HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    wav: Path,
    pace: float | None,
) -> tuple[float, dict[str, object]]:
    connection.putrequest(method, path)
    for name, value in {**headers, "Content-Length": str(wav.stat().st_size)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    began, sent = time.perf_counter(), 0
    with wav.open("rb") as file:
        while piece := file.read(_PIECE):
            connection.send(piece)
            sent += len(piece)
            if pace:
                time.sleep(max(0.0, began + sent / pace - time.perf_counter()))
    last_byte = time.perf_counter()
    response = connection.getresponse()
    reply = json.load(response)
    assert response.status in (200, 201), reply
    lag = time.perf_counter() - last_byte
    connection.close()
    return lag, reply


def compare(name: str, stack: Stack, base: str, wav: Path, pairs: int) -> None:
    """Prints the figures at full speed."""
    plain, resumable = [], []
    for number in range(pairs):
        both: list[tuple[list[float], Send]] = [(plain, send_plain), (resumable, send_resumably)]
        # Neither has always what the other has left behind.
        for seconds, send in both[:: 1 if number % 2 else -1]:
            seconds.append(send(stack, base, wav, None)[0])
    ratios = [one / other for one, other in zip(plain, resumable, strict=True)]
    size = wav.stat().st_size / 1e6
    print(
        f"{name}, {size:.0f} MB: plain {statistics.median(plain):.2f} s, resumable "
        f"{statistics.median(resumable):.2f} s, throughput ratio {statistics.median(ratios):.3f} "
        f"({', '.join(f'{ratio:.3f}' for ratio in ratios)})",
        flush=True,
    )


def compare_lags(name: str, stack: Stack, base: str, wav: Path, pairs: int) -> None:
    """Prints how much later there is a link."""
    lags = [
        (send_plain(stack, base, wav, PACE)[1], send_resumably(stack, base, wav, PACE)[1])
        for _ in range(pairs)
    ]
    more = [resumable - plain for plain, resumable in lags]
    print(
        f"{name}, paced at {PACE / 1e6:.0f} MB/s, from the last byte to the link: plain "
        f"{statistics.median(plain for plain, _ in lags):.3f} s, resumable "
        f"{statistics.median(resumable for _, resumable in lags):.3f} s, more by "
        f"{statistics.median(more):.3f} s ({', '.join(f'{each:.3f}' for each in more)})",
        flush=True,
    )


def main() -> None:
    """Prints the figures."""
    with running(max_upload_bytes="1GB") as stack:
        if "lag" not in sys.argv[1:]:
            ten = music(stack.scratch / "ten.wav", 600)
            for name, base in (("direct", stack.direct), ("nginx", stack.nginx)):
                compare(name, stack, base, ten, PAIRS)
        one = music(stack.scratch / "one.wav", 60)
        for name, base in (("direct", stack.direct), ("nginx", stack.nginx)):
            compare_lags(name, stack, base, one, PACED_PAIRS)


if __name__ == "__main__":
    main()
