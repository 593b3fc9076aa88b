"""GET and HEAD /record/peaks and /record/waveform: the outline of a sound, as numbers or a picture.
As public as the record's link is."""

import re
from typing import Any, NoReturn

from umusic.errors import InvalidField
from umusic.library.models import Record
from umusic.library.waveforms import Waveforms
from umusic.waveform_errors import WaveformPending
from umusic.web.files import FileHandler

#: Pixels that a picture may have, and has if nobody says.
WIDTHS, DEFAULT_WIDTH = range(16, 4097), 1200
HEIGHTS, DEFAULT_HEIGHT = range(16, 1025), 200


class OutlineHandler(FileHandler):
    """What both have in common."""

    def initialize(  # type: ignore[override]
        self, waveforms: Waveforms, **files: Any
    ) -> None:
        """Takes what makes them, and what sends files."""
        super().initialize(**files)
        self.waveforms = waveforms

    async def tell_missing(self) -> NoReturn:
        # It has been there a moment ago. Either its record went with it: then this raises; or so
        # many sizes have been asked for that this one had to go.
        await self.find_record()
        raise WaveformPending


class PeaksHandler(OutlineHandler):
    """The lowest and highest samples as JSON, in audiowaveform's form."""

    media_type = "application/json"

    async def locate(self, record: Record) -> str:
        return await self.waveforms.peaks(record)


class WaveformHandler(OutlineHandler):
    """The picture, a PNG of `width` by `height` pixels."""

    media_type = "image/png"

    async def admit(self) -> None:
        self._width = self._pixels("width", DEFAULT_WIDTH, WIDTHS)
        self._height = self._pixels("height", DEFAULT_HEIGHT, HEIGHTS)
        await super().admit()

    async def locate(self, record: Record) -> str:
        return await self.waveforms.picture(record, self._width, self._height)

    def _pixels(self, name: str, default: int, allowed: range) -> int:
        text = self.query(name) or str(default)
        pixels = int(text) if re.fullmatch("[0-9]{1,4}", text) else 0
        if pixels not in allowed:
            raise InvalidField(
                f"{name} is a number of pixels from {allowed[0]} to {allowed[-1]}.", field=name
            )
        return pixels
