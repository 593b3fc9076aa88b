"""umusic as the tests run it where faults are to show soon: `python -m tests.impatient serve`.

It gives an ffmpeg seconds where umusic gives it minutes, and cuts even short recordings into
segments; it sweeps every half a second, not every hour, looks ten times a second whether another
process wants one of its uploads, and takes leave sooner; what is claimed is lost in seconds where
that takes half a minute; and it waits a moment only for a database,
and for the ffmpeg that it tries at the start. Nothing else is different.
"""

import datetime
import functools
from typing import Any

from umusic import cli, server
from umusic.audio import encoder, ffmpeg, pool
from umusic.audio.process import run
from umusic.audio.segments import UNIT, Lengths
from umusic.library import claims, resumptions, schema

#: What an ffmpeg may take for a segment, in seconds: a sound one gets little of a busy machine.
PATIENCE = 10.0
SHORT = functools.partial(Lengths, shortest=4 * UNIT, longest=8 * UNIT, patience=0.0)


async def impatiently(args: list[str], *, seconds: float, **rest: Any) -> None:
    """What the encoder calls for each segment, with less time for it."""
    await run(args, seconds=min(seconds, PATIENCE), **rest)


def hasten() -> None:
    """Takes patience away from this process."""
    encoder.run = impatiently
    pool.Lengths = SHORT  # type: ignore[misc, assignment]
    server.PARTING_SECONDS = 1.0
    server.SWEEP_SECONDS = 0.5
    server.TEND_SECONDS = 0.5
    resumptions._WATCH_SECONDS = 0.1
    claims.LEASE = datetime.timedelta(seconds=3)
    schema._PATIENCE = 2.0
    ffmpeg._PROBE_SECONDS = 5


if __name__ == "__main__":
    hasten()
    cli.main()
