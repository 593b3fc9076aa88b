"""The operations that show what a record sounds like: as numbers, and as a picture."""

from dataclasses import replace

from umusic.errors import (
    Draining,
    MediaAway,
    NoSpace,
    PreconditionFailed,
    RangeUnsatisfiable,
)
from umusic.waveform_errors import (
    RecordDamaged,
    TooManyWaveforms,
    WaveformFailed,
    WaveformPending,
)
from umusic.web.api.records import ACCEPT_RANGES, CONDITIONS, CONTENT_RANGE, NAMED, OF_LINK
from umusic.web.api.terms import (
    ETAG,
    NOT_MODIFIED,
    REVALIDATE,
    STRING,
    Content,
    Header,
    Operation,
    Parameter,
    Reply,
)
from umusic.web.schemas import Outline
from umusic.web.waveforms import DEFAULT_HEIGHT, DEFAULT_WIDTH, HEIGHTS, WIDTHS

_HEADERS = (Header("Last-Modified", "When it was made.", STRING), ETAG, REVALIDATE)
_JSON = Content(
    "application/json",
    Outline,
    {
        "version": 2,
        "channels": 1,
        "sample_rate": 44100,
        "samples_per_pixel": 65,
        "bits": 8,
        "length": 2,
        "data": [-12, 9, -31, 40],
    },
)
_PNG = Content("image/png", {"type": "string", "format": "binary"})


def _pixels(name: str, default: int, allowed: range) -> Parameter:
    schema = {
        "type": "integer",
        "minimum": allowed[0],
        "maximum": allowed[-1],
        "default": default,
    }
    return Parameter(name, "In pixels.", schema)


def _outline(name: str, summary: str, text: str, content: Content) -> Operation:
    part = replace(content, example=None)
    if content.media_type == "application/json":
        part = replace(part, schema={})
    return Operation(
        id=name,
        tag="Records",
        summary=summary,
        text=f"{text} Made when it is first asked for, and kept as long as the record is. Needs no "
        "token, as the MP3 does not. Of a record of many hours it may take a while: then it is 503 "
        "for the moment.",
        replies={
            200: Reply("It.", (content,), (*_HEADERS, ACCEPT_RANGES)),
            206: Reply("The part of it that Range asks for.", (part,), (*_HEADERS, CONTENT_RANGE)),
            304: NOT_MODIFIED,
        },
        problems=(
            *OF_LINK,
            RecordDamaged,
            WaveformPending,
            WaveformFailed,
            Draining,
            TooManyWaveforms,
            MediaAway,
            NoSpace,
            PreconditionFailed,
            RangeUnsatisfiable,
        ),
        parameters=(*NAMED, *CONDITIONS),
    )


_PEAKS = _outline(
    "getPeaks",
    "Get the outline of the sound, as numbers",
    "The lowest and the highest sample in turn, of all channels together, a pair for each "
    "`samples_per_pixel` samples: the form of audiowaveform, peaks.js and wavesurfer.js.",
    _JSON,
)
_WAVEFORM = _outline("getWaveform", "Get the outline of the sound, as a picture", "A PNG.", _PNG)

OPERATIONS: dict[str, dict[str, Operation]] = {
    "/record/peaks": {"GET": _PEAKS},
    "/record/waveform": {
        "GET": replace(
            _WAVEFORM,
            parameters=(
                *_WAVEFORM.parameters,
                _pixels("width", DEFAULT_WIDTH, WIDTHS),
                _pixels("height", DEFAULT_HEIGHT, HEIGHTS),
            ),
        )
    },
}
