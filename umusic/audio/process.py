"""One run of ffmpeg from start to end: restrained, watched, and reaped whatever happens."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
from pathlib import Path

from umusic.errors import EncoderFailed

log = logging.getLogger(__name__)

_STDERR_BYTES = 8192
#: Below the server's, so that encoding never keeps a download waiting.
_NICENESS = 10


async def run(
    args: list[str], *, stdin: int, stdout: int, limits: dict[int, int], seconds: float
) -> None:
    """Runs ffmpeg on two open files, for at most `seconds`; `limits` are RLIMIT_… to values.

    Raises:
        EncoderFailed: it could not be started, failed, complained, or was too slow. The log has its
            own words. `complained` if it ended by itself: then what it was given may be to blame.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *args,
            stdin=stdin,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
            env={},
            start_new_session=True,
        )
    except OSError as exc:
        log.error("ffmpeg cannot be started: %s", exc)
        raise EncoderFailed from exc
    assert process.stderr is not None
    stderr = asyncio.create_task(_last_bytes(process.stderr))
    try:
        _restrain(process.pid, limits)
        async with asyncio.timeout(seconds):
            await process.wait()
    except (OSError, TimeoutError) as exc:
        log.error("ffmpeg was stopped: %s", str(exc) or f"it took more than {seconds:g} s")
        raise EncoderFailed from exc
    finally:
        # Not Process.kill(): it reaps a child that has just died, behind asyncio's back.
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        # Shielded: who awaits these may be cancelled, they may not.
        await asyncio.shield(process.wait())
        said = (await asyncio.shield(stderr)).decode(errors="replace").strip()
    # Exit 0 proves little: words on stderr count as failure as well.
    if process.returncode or said:
        log.error("ffmpeg failed with status %s: %s", process.returncode, said or "(no message)")
        failed = EncoderFailed()
        failed.complained = process.returncode is None or process.returncode >= 0
        raise failed


def _restrain(pid: int, limits: dict[int, int]) -> None:
    """Limits a process that has just begun. From outside: code between fork and exec is unsafe
    in a process with threads."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        for limit, value in limits.items():
            _, hard = resource.prlimit(pid, limit)
            lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(pid, limit, (lower, lower))
        _keep_back(pid)
        # It may have begun other threads meanwhile; those that are still to come inherit from it.
        for thread in Path(f"/proc/{pid}/task").iterdir():
            _keep_back(int(thread.name))
    # Where the kernel groups tasks by session (sched(7), autogroup), niceness counts only within
    # one, and ffmpeg is alone in its own: the group's niceness is what keeps it back.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICENESS))


def _keep_back(thread: int) -> None:
    """Lets the server go first, and makes the thread a batch job: one that wakes does not push
    aside the one that woke it, and ffmpeg hands each frame from thread to thread."""
    os.setpriority(os.PRIO_PROCESS, thread, max(os.getpriority(os.PRIO_PROCESS, thread), _NICENESS))
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))


async def _last_bytes(stream: asyncio.StreamReader) -> bytes:
    """Reads a stream to its end and keeps only the last few kilobytes."""
    last = b""
    while block := await stream.read(_STDERR_BYTES):
        last = (last + block)[-_STDERR_BYTES:]
    return last
