"""What a process and all that descend from it use: memory, processor, bytes written."""

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.process import pids

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.1
_PSS = re.compile(r"^Pss:\s+(\d+)", re.MULTILINE)
_WRITTEN = re.compile(r"^write_bytes: (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Usage:
    """`cpu` in seconds; `memory`, the most at any time, and `written` to disks in bytes."""

    cpu: float
    memory: int
    written: int


class Watch:
    """Watches from its start until `stop`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu, self._written = cpu(pid), written(pid)
        self._most = memory(pid)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def stop(self) -> Usage:
        """Looks no further; what was used since the start."""
        used = cpu(self._pid) - self._cpu
        wrote = written(self._pid) - self._written
        self._stopped.set()
        self._thread.join()
        return Usage(used, self._most, wrote)

    def _sample(self) -> None:
        while not self._stopped.wait(_SAMPLE_SECONDS):
            self._most = max(self._most, memory(self._pid))


def tree(pid: int) -> Iterator[int]:
    """A process with all that descend from it."""
    yield pid
    for child in pids(parent=pid):
        yield from tree(child)


def memory(pid: int) -> int:
    """Bytes that the tree has: what is mapped, shared pages divided by who shares them (PSS), and
    what is in anonymous files (memfd), which nobody maps."""
    mapped, files = 0, {}
    for process in tree(pid):
        mapped += 1024 * _number(f"/proc/{process}/smaps_rollup", _PSS)
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(entry.readlink()).startswith("/memfd:"):
                        found = entry.stat()
                        files[found.st_ino] = found.st_blocks * 512
    return mapped + sum(files.values())


def cpu(pid: int) -> float:
    """Seconds of processor that the tree has used, with those of its that have ended."""
    return sum(sum(_times(process)) for process in tree(pid)) / _TICKS


def own_cpu(pid: int) -> float:
    """Seconds of processor that the process itself has used."""
    return sum(_times(pid)[:2]) / _TICKS


def machine_cpu() -> float:
    """Seconds of processor that all on this machine have used, with what a hypervisor gave to
    others instead: proc(5), without idle and iowait, and guests, which are in user."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


def _times(pid: int) -> list[int]:
    """utime, stime, cutime and cstime of proc(5); nothing if the process has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [int(field) for field in fields[11:15]]


def written(pid: int) -> int:
    """Bytes that the tree has had written to disks, with those of its that have ended."""
    return sum(_number(f"/proc/{process}/io", _WRITTEN) for process in tree(pid))


def _number(file: str, pattern: re.Pattern[str]) -> int:
    """A number in a file of /proc; 0 if the process has gone."""
    try:
        found = pattern.search(Path(file).read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0
