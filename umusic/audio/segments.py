"""Where a recording is cut into segments that may be encoded apart, and the memory they wait in.

LAME makes the same frames of a segment as of the whole, to the bit, if it has been fed long enough
before it (the pre-roll, whose frames are dropped) and a little beyond its end (the look-ahead).
"""

import contextlib
import mmap
import os
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd

from umusic.audio.ffmpeg import mp3_sample_rate
from umusic.audio.mp3 import samples_per_frame
from umusic.audio.wav_format import WavFormat

#: MP3 frames after which the padding of a constant bit rate repeats, at 44.1 kHz and its fractions
#: (144,000 × kbit/s ÷ 44,100 has the denominator 49). Segments and pre-rolls are multiples of it.
UNIT = 49
#: In MP3 frames. What LAME forgets last is its adaptive threshold of hearing (adjust_ATH): after
#: loud sound it falls by 7.5 % a frame, to 1/1600 in 95 frames; each click holds it up for one.
PRE_ROLL = 4 * UNIT
#: Of samples. Where four units are more (eight channels at 192 kHz), the pre-roll is one: as good
#: to hear, if not always to the bit.
_MOST_PRE_ROLL_BYTES = 16 * 2**20
#: In MP3 frames: LAME looks 224 samples beyond its frame, a resampler some more.
LOOK_AHEAD = 2
#: How many times as long as the first segments the others are.
_OPENING = 4


@dataclass(frozen=True)
class Grid:
    """How the sample frames of a WAV and the frames of its MP3 lie beside each other.

    MP3 frame g encodes the resampled sound from sample g × `samples_per_frame` on, but for the
    encoder's delay.
    """

    source_rate: int

    @cached_property
    def rate(self) -> int:
        """The MP3's, in Hz."""
        return mp3_sample_rate(self.source_rate)

    @cached_property
    def samples_per_frame(self) -> int:
        """Of an MP3 frame, at the MP3's rate."""
        return samples_per_frame(self.rate)

    @cached_property
    def _period(self) -> tuple[int, int]:
        """After so many samples of the source, and of the MP3, a resampler is where it began."""
        common = gcd(self.source_rate, self.rate)
        return self.source_rate // common, self.rate // common

    def start(self, frame: int) -> tuple[int, int]:
        """Where encoding has to begin so that MP3 frame `frame` comes out first: the sample frame
        of the WAV to begin at, and the samples to be dropped after resampling."""
        source, resampled = self._period
        periods, drop = divmod(frame * self.samples_per_frame, resampled)
        return periods * source, drop

    def end(self, frame: int) -> int:
        """How many sample frames of the WAV it takes to encode what lies before MP3 frame `frame`,
        look-ahead included."""
        source, resampled = self._period
        return -(-(frame + LOOK_AHEAD) * self.samples_per_frame * source // resampled)

    def complete(self, samples: int) -> int:
        """How many MP3 frames can be encoded from the first `samples` sample frames of the WAV."""
        source, resampled = self._period
        return max(samples * resampled // (source * self.samples_per_frame) - LOOK_AHEAD, 0)

    def frame_bytes(self, wav: WavFormat) -> float:
        """Bytes of the WAV's samples that an MP3 frame stands for."""
        samples = self.samples_per_frame * self.source_rate / self.rate
        return samples * wav.block_bytes / wav.block_frames

    def length(self, samples: int) -> int:
        """How many samples the MP3 of `samples` sample frames of the WAV has."""
        return round(samples * self.rate / self.source_rate)


def pre_roll(frame_bytes: float) -> int:
    """MP3 frames that are encoded before a segment and dropped; `frame_bytes` of samples each."""
    return PRE_ROLL if PRE_ROLL * frame_bytes <= _MOST_PRE_ROLL_BYTES else UNIT


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long segments are, in MP3 frames (26 ms each at 44.1 kHz) and in bytes of samples.

    `budget` is for all recordings together, so the more there are, the shorter are their segments;
    but never shorter than their pre-roll, or most of the work would be thrown away.
    `patience` is how many seconds an idle encoder is left waiting for a segment to grow.
    """

    shortest: int = 8 * UNIT
    longest: int = 120 * UNIT
    budget: int = 256 * 2**20
    patience: float = 0.1

    def capped(self, frame_bytes: float, holders: int) -> "Lengths":
        """The same for MP3 frames made of `frame_bytes` of samples, with `holders` segments held in
        memory at most."""
        most, rolled = self.budget // holders, pre_roll(frame_bytes)
        longest = min(self.longest, max(int(most / frame_bytes) - rolled - LOOK_AHEAD, rolled))
        return replace(self, longest=longest, shortest=min(self.shortest, longest))

    def full(self, left: int | None, *, cut: int, share: int) -> int:
        """The full length of a segment: `left` MP3 frames are still to be cut, if that is known,
        `cut` segments have been, and `share` may be encoded at once.

        The first `share` segments are a quarter as long as the others, so that no encoder waits
        long for its first one. The others are as equal as can be, and a multiple of `share`, so
        that all encoders are done at the same time.
        """
        opening = max(share - cut, 0)
        if left is None:
            usual = self.longest // share
            return max(self.shortest, usual // _OPENING if opening else usual)
        if cut + -(-left // self.longest) <= share:  # one segment for each is enough
            return max(self.shortest, -(-left // opening))
        others = max(-(-(left - opening * self.longest // _OPENING) // self.longest), 1)
        others += -(max(cut - share, 0) + others) % share
        usual = left * _OPENING // (opening + _OPENING * others) + 1
        return max(self.shortest, -(-usual // _OPENING) if opening else usual)


class Segment:
    """MP3 frames from `first` on, as the samples they are made of: in memory, not on a disk, from
    where ffmpeg can read them like a file (memfd_create(2)). To be closed."""

    def __init__(
        self, grid: Grid, wav: WavFormat, first: int = 0, samples: "Memory | None" = None
    ) -> None:
        """`samples` is memory to use again. Raises OSError if there is none to be had."""
        self.first = first
        #: MP3 frames before the first that are encoded with it.
        self.pre_roll = min(first, pre_roll(grid.frame_bytes(wav)))
        self._grid = grid
        self._wav = wav
        start, self.drop = grid.start(first - self.pre_roll)
        #: Blocks of the WAV before it, and the sample frames of its first block to be left out.
        self._block, self.skip = divmod(start, wav.block_frames)
        #: Sample frames that it has from its first block on, if it has not all of its last block.
        self.keep: int | None = None
        self.samples = samples or Memory("umusic-segment")
        header = wav.header(0)
        self._header_bytes = len(header)
        try:
            self.samples.append(header)
        except OSError:
            self.close()
            raise

    @property
    def _size(self) -> int:
        """Bytes of its blocks."""
        return self.samples.size - self._header_bytes

    @property
    def _frames(self) -> int:
        return self._wav.frames_in(self._size)

    @property
    def seconds(self) -> float:
        """How much sound it holds."""
        return self._frames / self._wav.sample_rate

    @property
    def complete(self) -> int:
        """How many MP3 frames can be had of it, if more is to follow: a multiple of `UNIT`."""
        frames = self._block * self._wav.block_frames + self._frames
        complete = self._grid.complete(frames) - self.first
        return max(complete // UNIT * UNIT, 0)

    def cut(self, frames: int, samples: "Memory | None" = None) -> "Segment":
        """Ends it after so many MP3 frames; returns the next one, which has what is left, in
        `samples` if there is memory to use again."""
        following = Segment(self._grid, self._wav, self.first + frames, samples)
        try:
            self.samples.copy(self._offset(following._block), following.samples)
        except OSError:
            following.close()
            raise
        end = self._grid.end(self.first + frames)
        self.samples.truncate(self._offset(-(-end // self._wav.block_frames)))
        return following

    def end(self, frames: int) -> None:
        """Leaves out what is beyond so many sample frames of the WAV, in the last block."""
        keep = frames - self._block * self._wav.block_frames
        self.keep = keep if keep < self._frames else None

    def rewind(self) -> int:
        """The file descriptor to read it from: all that it has, and no more."""
        self.samples.overwrite(self._wav.header(self._size))
        return self.samples.rewind()

    def _offset(self, block: int) -> int:
        """Where a block of the WAV begins in `samples`."""
        return self._header_bytes + (block - self._block) * self._wav.block_bytes

    def close(self) -> None:
        """Gives its memory back."""
        self.samples.close()


class Memory:
    """Anonymous memory with a file descriptor, `fd` (memfd_create(2))."""

    def __init__(self, name: str) -> None:
        self.fd = os.memfd_create(name, os.MFD_CLOEXEC)
        self.size = 0

    def append(self, data: bytes) -> None:
        """Writes to its end. Raises OSError if there is no memory."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self.fd, view, self.size)
            self.size += written
            view = view[written:]

    def copy(self, start: int, target: "Memory") -> None:
        """Copies what is from `start` on to the end of another."""
        os.lseek(target.fd, target.size, os.SEEK_SET)
        while start < self.size:
            copied = os.sendfile(target.fd, self.fd, start, self.size - start)
            start += copied
            target.size += copied

    def truncate(self, size: int) -> None:
        """Cuts it off after `size` bytes."""
        if size < self.size:
            os.ftruncate(self.fd, size)
            self.size = size

    @contextlib.contextmanager
    def mapped(self) -> Iterator[bytes | mmap.mmap]:
        """All of it, whoever wrote it, to be read where it is."""
        size = os.fstat(self.fd).st_size
        if not size:
            yield b""
            return
        with mmap.mmap(self.fd, size, prot=mmap.PROT_READ) as whole:
            yield whole

    def overwrite(self, data: bytes) -> None:
        """Writes over its start."""
        os.pwrite(self.fd, data, 0)

    def rewind(self) -> int:
        """Lets whoever gets `fd`, which it returns, read from the start what has been written, and
        no more."""
        os.ftruncate(self.fd, self.size)
        os.lseek(self.fd, 0, os.SEEK_SET)
        return self.fd

    def emptied(self) -> "Memory":
        """The same memory to be filled anew; this one is closed."""
        emptied = copy(self)
        emptied.size = 0
        self.fd = -1
        return emptied

    def close(self) -> None:
        """Gives the memory back. May be called more than once."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
