"""From the first byte of a WAV to the link of its MP3, as fast as the loopback is; and what that
costs: processor, memory, bytes written to disk."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.alone import main
from bench.load import Load, loading
from bench.rounds import Row, Scale, Turn, run, tell
from bench.sides import Bench, Server, ffmpeg_alone
from bench.watch import Watch
from bench.wavs import music


@dataclass(frozen=True)
class Case:
    """A WAV: what it is called, and how it is made."""

    name: str
    seconds: float
    rate: int = 44100
    codec: str = "pcm_s16le"


CASES = (
    Case("1 MB", 5.67),
    Case("105 MB", 600),
    # As many bytes of what studios record, so that it is the bytes that count and not the encoder.
    Case("1 GB (192 kHz, 32 bit)", 700, 192_000, "pcm_f32le"),
)
QUICK_CASES = (Case("1 MB", 5.67), Case("5 MB", 30))


def measure(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Five rows a WAV."""
    with bench.umusic() as umusic, bench.baseline() as baseline, loading() as load:
        for case in QUICK_CASES if scale.quick else CASES:
            wav = music(bench.scratch / "take.wav", case.seconds, rate=case.rate, codec=case.codec)
            yield from _rows(bench, scale, case, wav, load, (umusic, baseline))
            wav.unlink()


def _rows(
    bench: Bench, scale: Scale, case: Case, wav: Path, load: Load, servers: tuple[Server, ...]
) -> Iterator[Row]:
    sides: dict[str, Turn] = {
        server.name: partial(_upload, server, load, wav, case.seconds) for server in servers
    }
    sides["ffmpeg alone"] = partial(_alone, wav, bench.scratch / "alone.mp3", case.seconds)
    rounds = run(sides, scale.rounds, warm_up=case.seconds < 60)
    for what, measure, unit, why in (
        ("link", "First byte to link", "s", ""),
        ("lag", "Last byte to link", "s", ""),
        (
            "cpu",
            "Processor per minute of sound",
            "s",
            "umusic reads, checks and hashes each byte of WAV and MP3, and each of its segments "
            "is begun a little early so that there are no seams.",
        ),
        (
            "memory",
            "Most memory of all processes",
            "MB",
            "The baseline has the WAV on the disk; umusic has in memory what its ffmpegs work on: "
            "256 MiB at most for all uploads together, however long a WAV is.",
        ),
        ("written", "Written to disk ÷ MP3", "", ""),
    ):
        yield tell(rounds.row(what, measure, case.name, unit, why=why, floor="ffmpeg alone"))


def _upload(server: Server, load: Load, wav: Path, seconds: float) -> dict[str, float]:
    watch = Watch(server.pid)
    sent = load.upload(server.uploading(), wav)[0]
    used = watch.stop()
    return {
        "link": sent.seconds,
        "lag": sent.lag,
        "cpu": used.cpu / seconds * 60,
        "memory": used.memory / 1e6,
        "written": used.written / json.loads(sent.body)["size"],
    }


def _alone(wav: Path, mp3: Path, seconds: float) -> dict[str, float]:
    alone = ffmpeg_alone(wav, mp3)
    return {"link": alone.seconds, "cpu": alone.cpu / seconds * 60}


if __name__ == "__main__":
    main(measure)
