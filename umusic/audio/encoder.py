"""Sample frames in, an MP3 file out, through an ffmpeg of its own. Knows nothing of uploads.

Three verbs: `write` with back-pressure, `finish`, `abort`. Whatever happens, ffmpeg is reaped.
"""

import asyncio
import contextlib
import logging
import os
import resource
import signal
from pathlib import Path

from umusic.audio import ffmpeg
from umusic.audio.ffmpeg import Mp3Settings
from umusic.audio.mp3 import INFO_TAG_BYTES, MIN_PADDING, InfoTag, InfoTagMissing, read_info_tag
from umusic.audio.wav import WavFormat
from umusic.errors import EncoderFailed, NoSound, NoSpace

log = logging.getLogger(__name__)

#: Seconds in which ffmpeg has to take a block, or to end, before it counts as stuck.
STALL_SECONDS = 60.0
_STDERR_BYTES = 8192
#: ffmpeg's resampler gives nothing back for less than about a dozen samples of the lower rate.
_RESAMPLER_FRAMES = 1024
#: Below the server's, so that encoding never keeps a download waiting.
_NICENESS = 10


class Encoder:
    """One running ffmpeg. Make it with `start`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        wav: WavFormat,
        output: Path,
        stall_seconds: float,
    ) -> None:
        assert process.stdin is not None and process.stderr is not None
        self._process = process
        self._stdin = process.stdin
        self._wav = wav
        self._output = output
        self._stall_seconds = stall_seconds
        self._frames = 0
        self._aborted = False
        self._stderr = asyncio.create_task(_last_bytes(process.stderr))

    @classmethod
    async def start(
        cls,
        binary: Path,
        wav: WavFormat,
        mp3: Mp3Settings,
        output: Path,
        *,
        max_frames: int,
        stall_seconds: float = STALL_SECONDS,
    ) -> "Encoder":
        """Starts ffmpeg on `output`, for at most `max_frames` sample frames.

        Raises:
            EncoderFailed: ffmpeg cannot be started.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *ffmpeg.encode_args(binary, wav, mp3, output),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={},
                start_new_session=True,
            )
        except OSError as exc:
            raise EncoderFailed from exc
        encoder = cls(process, wav, output, stall_seconds)
        try:
            _restrain(process.pid, max_frames // wav.sample_rate + 1)
        except OSError as exc:
            await encoder.abort()
            raise EncoderFailed from exc
        return encoder

    async def write(self, frames: bytes) -> None:
        """Gives whole sample frames to ffmpeg, and waits until it has room for more.

        Raises:
            EncoderFailed, NoSpace: ffmpeg is gone or stuck; call `abort`.
        """
        try:
            async with asyncio.timeout(self._stall_seconds):
                self._stdin.write(frames)
                await self._stdin.drain()
        except (OSError, TimeoutError) as exc:
            raise await self._failure() from exc
        self._frames += len(frames) // self._wav.frame_bytes

    async def finish(self) -> InfoTag:
        """Ends the sound, waits for the MP3 and checks that all of the sound is in it.

        Raises:
            EncoderFailed, NoSpace: it is not; call `abort`.
        """
        try:
            async with asyncio.timeout(self._stall_seconds):
                self._stdin.close()
                status = await self._process.wait()
                # Shielded, as a timeout would cancel the task itself.
                stderr = await asyncio.shield(self._stderr)
        except (OSError, TimeoutError) as exc:
            raise await self._failure() from exc
        # Exit 0 proves little: words on stderr count as failure, and the samples are counted.
        if status or stderr:
            raise await self._failure()
        try:
            return await asyncio.to_thread(self._settled_tag)
        except OSError as exc:
            raise EncoderFailed from exc

    async def abort(self) -> None:
        """Kills ffmpeg and waits until it is gone. May be called at any time, more than once."""
        self._aborted = True
        # Not Process.kill(): it reaps a child that has just died, behind asyncio's back.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        # What is closing already falls with the process; asyncio cannot bear both.
        if not self._stdin.transport.is_closing():
            self._stdin.transport.abort()
        await self._process.wait()
        # Shielded here as well: who awaits these may be cancelled, they may not.
        await asyncio.shield(self._stderr)
        with contextlib.suppress(OSError):
            await asyncio.shield(self._stdin.wait_closed())

    def _settled_tag(self) -> InfoTag:
        """Checks that all samples are in the MP3, and makes its tag tell their number.

        ffmpeg's own padding is wrong by up to 46 samples when the last frame holds no more than
        46, and its tag's CRC is wrong but for MPEG-1 stereo (seen in 5.1 and 9.0).
        """
        with self._output.open("r+b") as file:
            head = file.read(INFO_TAG_BYTES)
            try:
                tag = read_info_tag(head)
            except InfoTagMissing as exc:
                raise EncoderFailed from exc
            if tag.samples == 0 and self._frames < _RESAMPLER_FRAMES:
                raise NoSound("The WAV holds too little sound to be resampled.")
            resampled = tag.sample_rate != self._wav.sample_rate
            settled = tag.padded_to(round(self._frames * tag.sample_rate / self._wav.sample_rate))
            # LAME always pads by these and less than a frame more, so with any other number a
            # frame is missing or too many. A resampler may be off by a sample.
            beyond = settled.padding - MIN_PADDING
            slack = 2 if resampled else 0
            if not -slack <= beyond < tag.samples_per_frame + slack:
                log.error("the MP3 has %d samples instead of %d", tag.samples, settled.samples)
                raise EncoderFailed
            file.seek(0)
            file.write(settled.write_into(head))
        return settled

    async def _failure(self) -> EncoderFailed | NoSpace:
        """What to raise, after ffmpeg's end; its own words go to the log."""
        aborted = self._aborted
        await self.abort()
        stderr = (await self._stderr).decode(errors="replace").strip()
        status = self._process.returncode
        if not aborted:
            log.error("ffmpeg failed with status %s: %s", status, stderr or "(no message)")
        if "No space left" in stderr or status == -signal.SIGXFSZ:
            return NoSpace()
        return EncoderFailed()


def _restrain(pid: int, max_seconds: int) -> None:
    """Limits a process that has just begun. From outside: code between fork and exec is unsafe
    in a process with threads."""
    with contextlib.suppress(ProcessLookupError):
        inherited = os.getpriority(os.PRIO_PROCESS, pid)
        os.setpriority(os.PRIO_PROCESS, pid, max(inherited, _NICENESS))
        for limit, value in ffmpeg.limits(max_seconds).items():
            _, hard = resource.prlimit(pid, limit)
            lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(pid, limit, (lower, lower))
    # Where the kernel groups tasks by session (sched(7), autogroup), niceness counts only within
    # one, and ffmpeg is alone in its own: the group's niceness is what keeps it back.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICENESS))


async def _last_bytes(stream: asyncio.StreamReader) -> bytes:
    """Reads a stream to its end and keeps only the last few kilobytes."""
    last = b""
    while block := await stream.read(_STDERR_BYTES):
        last = (last + block)[-_STDERR_BYTES:]
    return last
