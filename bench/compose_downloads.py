"""Downloads in compose: wrk on a record's link ÷ wrk on the same file as the same nginx has it.

Needs a Docker engine, wrk and to be root: wrk runs in the network of the nginx container, so that
not Docker's own proxy for published ports is measured, which passes 4,000 requests/s at most.
"""

import json
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

from bench.wavs import music
from tests.compose.stack import Stack

PAIRS = 5
SECONDS = 4
#: What wrk has open at once.
CONNECTIONS = 16
#: WAVs whose MP3s have about 100 kB and 8 MB.
LENGTHS = {"100 kB": 5.4, "8 MB": 380}

_STATIC = """
server {
    listen 8090;
    access_log /var/log/nginx/access.log umusic buffer=64k flush=1s;
    location / {
        root /srv/media;
        sendfile on;
    }
}
"""
_OVERRIDE = """
services:
  nginx:
    volumes: ["./static.conf:/etc/nginx/conf.d/zz-static.conf:ro"]
"""


def requests_per_second(pid: str, url: str) -> float:
    """What wrk counts beside the process `pid`; every answer has to be a good one."""
    done = subprocess.run(
        [
            *("nsenter", "--net", "--target", pid),
            *("wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{SECONDS}s", url),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


def main() -> None:
    """Prints a line a size."""
    with tempfile.TemporaryDirectory(prefix="umusic-bench-") as name:
        scratch = Path(name)
        env = {"COMPOSE_FILE": "docker-compose.yml:static.yml"}
        stack = Stack(scratch / "stack", env)
        (stack.directory / "static.conf").write_text(_STATIC)
        (stack.directory / "static.yml").write_text(_OVERRIDE)
        with stack.running():
            user = stack.register("bench")
            pid = stack.inspect(stack.containers("nginx")[0], "{{.State.Pid}}")
            bearer = f"Authorization: Bearer {user['token']}"
            for size, seconds in LENGTHS.items():
                wav = music(scratch / f"{seconds}.wav", seconds)
                receipt = json.loads(stack.curl("/record/", "-H", bearer, "-T", wav)[2])
                link = receipt["link"].replace(stack.url, "http://127.0.0.1:8080")
                plain = f"http://127.0.0.1:8090/{user['id']}/{receipt['id']}.mp3"
                pairs = [
                    (requests_per_second(pid, plain), requests_per_second(pid, link))
                    for _ in range(PAIRS)
                ]
                ratios = sorted(record / static for static, record in pairs)
                print(
                    f"{size:6} ({receipt['size']} bytes): record ÷ static "
                    f"{statistics.median(ratios):.3f} ({ratios[0]:.3f}–{ratios[-1]:.3f}); "
                    f"{statistics.median(pair[1] for pair in pairs):.0f} and "
                    f"{statistics.median(pair[0] for pair in pairs):.0f} requests/s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
