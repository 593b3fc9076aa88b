"""Peak memory of the server process, and of it with its ffmpegs and all segments in memory.

Each upload gets a server of its own.
"""

import threading
from pathlib import Path

from bench.stack import Stack, music, running

EVERY = 0.02


def kilobytes(file: str, field: str) -> int:
    """A field of a file in /proc; 0 if the process has gone."""
    try:
        for line in Path(file).read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def ffmpegs(pid: int) -> list[int]:
    """The children of a process that are ffmpegs; one that is about to be one still shares the
    memory of its parent."""
    found = []
    try:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text().startswith("ffmpeg"):
                found.append(int(child))
    except OSError:
        pass
    return found


class Watch:
    """The most that was seen from its start until `stop`, in kB."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._pid = pid
        self._segments = kilobytes("/proc/meminfo", "Shmem")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Looks no further."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY):
            processes = [self._pid, *ffmpegs(self._pid)]
            resident = sum(kilobytes(f"/proc/{pid}/status", "VmRSS") for pid in processes)
            segments = kilobytes("/proc/meminfo", "Shmem") - self._segments
            self.most = max(self.most, resident + segments)


def measure(stack: Stack, seconds: int) -> tuple[float, float]:
    """MiB of the server alone, and of all together."""
    wav = music(stack.scratch / "take.wav", seconds)
    watch = Watch(stack.pid)
    status, took, _ = stack.upload(stack.nginx, wav)
    watch.stop()
    assert status == 201
    server = kilobytes(f"/proc/{stack.pid}/status", "VmHWM") / 1024
    print(
        f"{wav.stat().st_size / 1e6:.0f} MB: {took:.1f} s, peak of the server {server:.1f} MiB, "
        f"of all {watch.most / 1024:.1f} MiB",
        flush=True,
    )
    return server, watch.most / 1024


def main() -> None:
    """Prints the figures."""
    found = []
    for seconds in (57, 600, 6000):
        with running() as stack:
            found.append(measure(stack, seconds))
    (server, _), (_, ten), (larger, hundred) = found
    print(f"server, 1 GB ÷ 10 MB: {larger / server:.3f}; all, 100 ÷ 10 min: {hundred / ten:.3f}")


if __name__ == "__main__":
    main()
