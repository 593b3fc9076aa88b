"""Downloads in compose: wrk on a record's link ÷ wrk on the same file as the same nginx has it.

Needs a Docker engine and wrk.
"""

import json
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

from bench.stack import music
from tests.compose.stack import Stack, unused_port

PAIRS = 5
SECONDS = 4
#: What wrk has open at once.
CONNECTIONS = 16
#: WAVs whose MP3s have about 100 kB and 8 MB.
LENGTHS = {"100 kB": 7, "8 MB": 530}

_STATIC = """
server {
    listen 8090;
    access_log /var/log/nginx/access.log umusic;
    location / {
        root /srv/media;
        sendfile on;
        tcp_nopush on;
    }
}
"""
_OVERRIDE = """
services:
  nginx:
    ports: ["127.0.0.1:{port}:8090"]
    volumes: ["./static.conf:/etc/nginx/conf.d/static.conf:ro"]
"""


def requests_per_second(url: str) -> float:
    """What wrk counts; every answer has to be a good one."""
    done = subprocess.run(
        ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{SECONDS}s", url],
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
        port = unused_port()
        env = {"COMPOSE_FILE": "docker-compose.yml:static.yml"}
        stack = Stack(scratch / "stack", env)
        (stack.directory / "static.conf").write_text(_STATIC)
        (stack.directory / "static.yml").write_text(_OVERRIDE.format(port=port))
        with stack.running():
            user = stack.register("bench")
            bearer = f"Authorization: Bearer {user['token']}"
            for size, seconds in LENGTHS.items():
                wav = music(scratch / f"{seconds}.wav", seconds)
                receipt = json.loads(stack.curl("/record/", "-H", bearer, "-T", wav)[2])
                plain = f"http://127.0.0.1:{port}/{user['id']}/{receipt['id']}.mp3"
                pairs = [
                    (requests_per_second(plain), requests_per_second(receipt["link"]))
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
