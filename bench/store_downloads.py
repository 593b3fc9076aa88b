"""Downloads from S3: nginx before umusic ÷ the same client straight from S3 by a presigned URL; and
what memory they take. By hand: `python -m bench.store_downloads`.

Needs wrk, curl, and an S3 as the tests do (`tests/ceph/up`): it runs on the same cores as all that
it is compared with, and on a loopback each copy counts that is hidden by a network. nginx has one
worker. Over a line of 1 Gbit/s, as root, with a Ceph of `CEPH_ADDRESS=10.77.0.1 tests/ceph/up`:

    ip netns add reader
    ip link add line type veth peer name reader netns reader
    ip addr add 10.77.0.1/24 dev line && ip link set line up
    ip netns exec reader ip addr add 10.77.0.2/24 dev reader
    ip netns exec reader ip link set reader up
    tc qdisc add dev line root tbf rate 1gbit burst 256k latency 20ms
    python -m bench.store_downloads --host 10.77.0.1 --within "ip netns exec reader"
"""

import argparse
import contextlib
import datetime
import json
import re
import shlex
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

from bench.sides import Bench, Server, bench
from bench.wavs import music
from tests.front import Nginx
from tests.process import pids
from tests.stores import BUCKET, S3

#: Pairs, with wrk of so many seconds each, with curl of one download each.
PAIRS = 9
SECONDS = 4
CURLS = 60
#: What wrk has open at once; 1 is curl.
CONNECTIONS = (1, 4, 16)
COMPARED = {"100 kB": 100_000, "8 MB": 8_000_000}
WEIGHED = {"8 MB": 8_000_000, "100 MB": 100_000_000, "1 GB": 1_000_000_000}
_PREFIX = "bench/store-downloads"


def bytes_per_second(url: str, connections: int, within: list[str]) -> float:
    """What curl or wrk gets; every answer has to be a good one."""
    if connections == 1:
        curl = [*within, "curl", "-sSf", "-o", "/dev/null", "-w", "%{speed_download}", url]
        return float(subprocess.run(curl, capture_output=True, check=True).stdout)
    options = ["-t", "1", "-c", str(connections), "-d", f"{SECONDS}s", "--timeout", "30s"]
    wrk = [*within, "wrk", *options, url]
    said = subprocess.run(wrk, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    found = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?)B", said)
    assert found, said
    return float(found[1]) * 1024.0 ** " KMG".index(found[2] or " ")


class Objects:
    """The bench's prefix of the bucket. umusic's own objects are replaced by ones of any size."""

    def __init__(self, s3: S3) -> None:
        s3.make_bucket()
        config: Any = {
            "endpoint": s3.endpoint,
            "region": "us-east-1",
            "access_key_id": s3.access_key,
            "secret_access_key": s3.secret_key,
        }
        self._store = S3Store(
            BUCKET, prefix=_PREFIX, config=config, client_options={"allow_http": True}
        )
        self.settings = {
            "media_url": f"s3://{BUCKET}/{_PREFIX}",
            "s3_endpoint": s3.endpoint,
            "s3_access_key": s3.access_key,
            "s3_secret_key": s3.secret_key,
        }

    def replace(self, name: str, size: int) -> None:
        """Gives an object so many bytes."""
        block = bytes(range(256)) * 4096
        whole = (block[: min(len(block), size - at)] for at in range(0, size, len(block)))
        obstore.put(self._store, name, whole)

    def signed(self, name: str) -> str:
        return str(obstore.sign(self._store, "GET", name, datetime.timedelta(hours=6)))

    def clear(self) -> None:
        names = [found["path"] for page in obstore.list(self._store) for found in page]
        obstore.delete(self._store, names)


def recorded(server: Server, scratch: Path) -> tuple[str, str]:
    """A new record's path with its query, and its name in the store."""
    asked = server.uploading()
    wav = music(scratch / "take.wav", 1)
    request = urllib.request.Request(
        asked.url, wav.read_bytes(), dict(asked.headers), method=asked.method
    )
    with urllib.request.urlopen(request) as reply:
        receipt = json.loads(reply.read())
    return receipt["link"].removeprefix(server.url), f"{receipt['user']}/{receipt['id']}.mp3"


@contextlib.contextmanager
def nginx_before(place: Bench, server: Server, s3: S3, host: str) -> Iterator[tuple[str, int]]:
    """The URL of nginx, and its worker."""
    front = Nginx(
        place.scratch / "nginx",
        upstream=server.url.removeprefix("http://"),
        media=server.media,
        store=s3.endpoint.partition("://")[2],
        host=host,
    )
    with front.running() as master:
        yield front.url, _worker(master)


def _worker(master: int) -> int:
    """nginx's worker. Beside it are those that look after the cache; all say so when they run."""
    while True:
        for pid in pids(parent=master):
            if b"worker process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        time.sleep(0.01)


def compare(link: str, signed: str, size: str, within: list[str]) -> None:
    """Prints how fast both are, in turn."""
    for connections in CONNECTIONS:
        pairs = [
            (
                bytes_per_second(signed, connections, within),
                bytes_per_second(link, connections, within),
            )
            for _ in range(CURLS if connections == 1 else PAIRS)
        ]
        ratios = sorted(through / straight for straight, through in pairs)
        print(
            f"{size:6} {connections:2} at once: nginx ÷ straight {statistics.median(ratios):.3f} "
            f"({ratios[len(ratios) // 4]:.3f}–{ratios[-len(ratios) // 4]:.3f}); "
            f"{statistics.median(pair[1] for pair in pairs) / 1e6:.0f} and "
            f"{statistics.median(pair[0] for pair in pairs) / 1e6:.0f} MB/s",
            flush=True,
        )


def peak(pid: int) -> float:
    """The most memory that a process has had since the last call, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return int(found[1]) / 1000


def weigh(what: str, link: str, size: int, processes: dict[str, int]) -> None:
    """Prints what four downloads at once take."""
    for pid in processes.values():
        peak(pid)
    curl = ["curl", "-sSf", "-o", "/dev/null", "-w", "%{size_download} %{speed_download}", link]
    running = [subprocess.Popen(curl, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [each.communicate()[0].split() for each in running]
    assert all(int(got) == size for got, _ in said), said
    peaks = ", ".join(f"{name} {peak(pid):.1f} MB" for name, pid in processes.items())
    total = sum(float(rate) for _, rate in said) / 1e6
    print(f"{what}, four at once: {peaks}; {total:.0f} MB/s together", flush=True)


def main() -> None:
    """Prints a line for each measurement."""
    parser = argparse.ArgumentParser(prog="python -m bench.store_downloads")
    parser.add_argument("--host", default="127.0.0.1", help="where nginx listens")
    parser.add_argument("--within", default="", help="what curl and wrk are run by")
    options = parser.parse_args()
    within = shlex.split(options.within)
    s3 = S3.of_environment()
    objects = Objects(s3)
    with bench() as place, contextlib.ExitStack() as stack:
        stack.callback(objects.clear)
        with place.umusic(x_accel_prefix="/_media/", **objects.settings) as server:
            path, name = recorded(server, place.scratch)
            with nginx_before(place, server, s3, options.host) as (url, worker):
                for told, size in COMPARED.items():
                    objects.replace(name, size)
                    compare(url + path, objects.signed(name), told, within)
                processes = {"umusic": server.pid, "nginx": worker}
                for told, size in WEIGHED.items():
                    objects.replace(name, size)
                    weigh(f"{told:6} through nginx", url + path, size, processes)
        with place.umusic(**objects.settings) as server:
            path, name = recorded(server, place.scratch)
            for told, size in WEIGHED.items():
                objects.replace(name, size)
                weigh(f"{told:6} by umusic", server.url + path, size, {"umusic": server.pid})


if __name__ == "__main__":
    main()
