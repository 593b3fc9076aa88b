"""Uploads over a line of a certain speed: the MP3 is made while the WAV comes in, so what counts is
the time from its last byte to the link."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.alone import main
from bench.load import Load, loading
from bench.rounds import Row, Scale, Turn, run, tell
from bench.sides import Bench, Server, ffmpeg_alone
from bench.wavs import music

#: MB/s of the line, and seconds of sound: a few of sending each.
CASES = ((1, 20), (5, 100), (20, 300))
QUICK_CASES = ((5, 30),)


def measure(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Two rows a line."""
    with bench.umusic() as umusic, bench.baseline() as baseline, loading() as load:
        for pace, seconds in QUICK_CASES if scale.quick else CASES:
            wav = music(bench.scratch / "take.wav", seconds)
            sides: dict[str, Turn] = {
                server.name: partial(_upload, server, load, wav, pace * 1e6)
                for server in (umusic, baseline)
            }
            sides["ffmpeg alone"] = partial(_alone, wav, bench.scratch / "alone.mp3")
            rounds = run(sides, scale.rounds, warm_up=False)
            case = f"{wav.stat().st_size / 1e6:.1f} MB at {pace} MB/s"
            yield tell(
                rounds.row("link", "First byte to link, paced", case, "s", floor="ffmpeg alone")
            )
            yield tell(rounds.row("lag", "Last byte to link, paced", case, "s"))


def _upload(server: Server, load: Load, wav: Path, pace: float) -> dict[str, float]:
    sent = load.upload(server.uploading(), wav, pace=pace)[0]
    return {"link": sent.seconds, "lag": sent.lag}


def _alone(wav: Path, mp3: Path) -> dict[str, float]:
    return {"link": ffmpeg_alone(wav, mp3).seconds}


if __name__ == "__main__":
    main(measure)
