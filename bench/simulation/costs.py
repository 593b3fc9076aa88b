"""What things cost, as `python -m bench.costs` and `make bench` have measured it."""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Bytes of a second of CD sound, as which all is sent.
CD = 176_400
MEASURED = Path(__file__).parents[1] / "costs.json"
RESULTS = MEASURED.with_name("results.json")


@dataclass(frozen=True)
class Costs:
    """In seconds of processor, unless it says otherwise, and bytes."""

    #: Of an ffmpeg: for its start, and for a MB of CD sound.
    segment: float
    encode_mb: float
    #: How much slower each is when all cores have one.
    crowded: float
    #: Seconds that pass for each segment besides.
    spawn: float
    #: Of umusic itself: for an upload, and for a MB that comes as fast as it goes, at 1 MB/s, and
    #: as it is recorded.
    upload: float
    intake_fast: float
    intake_slow: float
    intake_live: float
    #: Of Postgres.
    database: float
    #: Of the sender, where that is on the same machine.
    send_mb: float
    #: Seconds from the last frame to the link: fsync, COMMIT.
    settle: float
    #: Of memory: umusic with nothing to do, an upload without its sound, an ffmpeg.
    idle_bytes: float
    upload_bytes: float
    ffmpeg_bytes: float
    #: What is underway between a sender and umusic while umusic does not read.
    socket_bytes: float

    @classmethod
    def measured(cls, file: Path = MEASURED) -> "Costs":
        """Those of the file."""
        found: dict[str, Any] = json.loads(file.read_text())
        encoding, uploads, memory = found["encoding"], found["uploads"], found["memory"]
        # What is left of a small upload without what is known of it.
        known = encoding["s a segment"] + CD / 1e6 * encoding["s a MB"]
        known += encoding["s of waiting a segment"] + uploads["umusic s an upload"]
        return cls(
            segment=encoding["s a segment"],
            encode_mb=encoding["s a MB"],
            crowded=encoding["all cores ÷ one"],
            spawn=encoding["s of waiting a segment"],
            upload=uploads["umusic s an upload"],
            intake_fast=uploads["umusic s a MB, fast"],
            intake_slow=uploads["umusic s a MB, at 1 MB/s"],
            intake_live=uploads["umusic s a MB, as it is recorded"],
            database=uploads["postgres s an upload"],
            send_mb=uploads["sender s a MB"],
            settle=max(_second_of_sound() - known, 0.0),
            idle_bytes=memory["umusic"],
            upload_bytes=memory["an upload that waits"],
            ffmpeg_bytes=encoding["bytes of memory"],
            socket_bytes=memory["bytes in sockets"],
        )

    def work(self, sound: float) -> float:
        """Of an ffmpeg for so many bytes of CD sound, its pre-roll included."""
        return self.segment + sound / 1e6 * self.encode_mb

    def intake(self, line: float) -> float:
        """Of umusic itself for a MB over a line of so many bytes per second: the more, the smaller
        the pieces are in which it comes. Between what was measured it goes with their number."""
        pieces = 1e6 / line
        if pieces <= 1:
            return self.intake_fast + (self.intake_slow - self.intake_fast) * pieces
        share = (pieces - 1) / (1e6 / CD - 1)
        return self.intake_slow + (self.intake_live - self.intake_slow) * share


def _second_of_sound() -> float:
    """Seconds from its first byte to its link, alone on a quiet machine (`make bench`)."""
    rows = json.loads(RESULTS.read_text())["rows"]
    row = next(row for row in rows if row["measure"] == "An upload of a second of sound")
    return statistics.median(row["sides"]["umusic"]) / 1e3
