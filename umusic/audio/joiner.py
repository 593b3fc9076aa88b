"""Frames of consecutive segments in, one gapless MP3 out. No I/O, and nothing is decoded."""

from collections.abc import Iterable, Iterator
from itertools import islice
from mmap import mmap

from fastcrc.crc16 import arc as crc16

from umusic.audio.info_tag import ENCODER_DELAY, MIN_PADDING, InfoTag, SeekTable, info_frame_size
from umusic.audio.mp3 import BrokenMp3, Repacker, Stream

#: Frames that are joined at a time: some 300 kB, so that no copy of a whole segment is made.
_BATCH = 500


class Joiner:
    """Puts the frames of segments together, each encoded without a bit reservoir.

    VBR is re-packed, which takes the reservoir into use again. At a constant bit rate frames are
    of fixed size: they stay as they are.
    """

    def __init__(self, quality: int | None) -> None:
        """`quality` is that of VBR, or None for a constant bit rate."""
        self.stream: Stream | None = None
        self._quality = quality
        #: kbit/s; of VBR the lowest that there is.
        self._bitrate = 0
        self._repacker: Repacker | None = None
        #: Of sound, without the tag's.
        self._frames = 0
        #: Bytes of the MP3 so far, the tag's frame included.
        self._size = 0
        self._music_crc = 0
        self._seek_table = SeekTable()

    def join(
        self, segment: bytes | mmap, *, skip: int = 0, count: int | None = None
    ) -> Iterator[bytes]:
        """Takes the frames of the next segment but for the first `skip`: `count` of them, or all.

        Gives the next bytes of the MP3, in pieces. The first of all is room for the tag's frame.

        Raises:
            BrokenMp3: the segment has other frames, or fewer.
        """
        if not segment and count is None:
            return
        if self.stream is None:
            yield self._open(segment)
        assert self.stream is not None
        frames = islice(self.stream.frames(segment), skip, None if count is None else skip + count)
        before = self._frames
        while batch := list(islice(frames, _BATCH)):
            yield self._joined(self._packed(batch))
        if count is not None and self._frames - before != count:
            raise BrokenMp3(f"{self._frames - before} frames instead of {count}")

    def flush(self) -> bytes:
        """Says that the last segment has been taken; returns the last bytes of the MP3."""
        return self._joined(self._repacker.flush()) if self._repacker else b""

    def tag(self, samples: int, *, slack: int = 0) -> InfoTag:
        """The tag of the whole, for `samples` of sound per channel, give or take `slack`.

        Raises:
            BrokenMp3: there are not as many frames as LAME makes of them.
        """
        if self.stream is None:
            raise BrokenMp3("no frames")
        per_frame = self.stream.samples_per_frame
        padding = self._frames * per_frame - ENCODER_DELAY - samples
        # LAME pads by these and by less than a frame more: with any other number a frame is
        # missing or too many.
        if not -slack <= padding - MIN_PADDING < per_frame + slack:
            raise BrokenMp3(f"{self._frames} frames for {samples} samples")
        return InfoTag(
            stream=self.stream,
            quality=self._quality,
            bitrate=self._bitrate,
            frames=self._frames,
            size=self._size,
            contents=self._seek_table.contents(self._size),
            padding=padding,
            music_crc=self._music_crc,
        )

    def _open(self, segment: bytes | mmap) -> bytes:
        self.stream = stream = Stream.of(segment)
        if self._quality is None:
            self._bitrate = stream.bitrate_of(next(stream.frames(segment)))
        else:
            self._bitrate = stream.bitrates[0]
            self._repacker = Repacker(stream)
        self._size = info_frame_size(stream, self._bitrate)
        return bytes(self._size)

    def _packed(self, frames: Iterable[bytes]) -> list[bytes]:
        packed: list[bytes] = []
        for frame in frames:
            self._frames += 1
            if self._repacker:
                packed += self._repacker.push(frame)
            else:
                packed.append(frame)
        return packed

    def _joined(self, frames: list[bytes]) -> bytes:
        for frame in frames:
            self._seek_table.add(self._size)
            self._size += len(frame)
        joined = b"".join(frames)
        self._music_crc = crc16(joined, self._music_crc)
        return joined
