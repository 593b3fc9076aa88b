"""Requests in great number, by wrk."""

import re
import subprocess
from dataclasses import dataclass

_CONNECTIONS = 16


@dataclass(frozen=True)
class Asked:
    """How many requests were answered, how many a second, and bytes a second."""

    requests: int
    rate: float
    bytes: float


def wrk(url: str, seconds: int, headers: dict[str, str]) -> Asked:
    """What wrk counts; every answer has to be a good one."""
    told = [f"-H{name}: {value}" for name, value in headers.items()]
    done = subprocess.run(
        ["wrk", "-t", "1", "-c", str(_CONNECTIONS), "-d", f"{seconds}s", *told, url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
    count = re.search(r"(\d+) requests in", done.stdout)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    transfer = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?)B", done.stdout)
    assert count and rate and transfer, done.stdout
    # wrk's K is 1024 and so on, told in three digits.
    size = float(transfer[1]) * 1024 ** " KMG".index(transfer[2] or " ")
    return Asked(int(count[1]), float(rate[1]), size)
