"""Refusals of a 100 MB body by real curl, through nginx and direct: how many are clean.

Clean is: curl ends well and shows the status that was due. 50 times each by -T, --data-binary and
with Expect: 100-continue.
"""

import collections
import contextlib
import subprocess
import sys
from pathlib import Path

from bench.sides import bench
from bench.wavs import music

TIMES = 50
NOT_A_WAV = "x" * 1024


def cases(token: str, wav: Path, text: Path) -> dict[str, tuple[str, str, Path]]:
    """Name: the due status, the token, the body."""
    return {
        "bad token": ("401", "nobody", wav),
        "name taken": ("409", token, wav),
        "not a WAV": ("415", token, text),
        "too large": ("413", token, wav.with_name("large.wav")),
    }


def ways(body: Path) -> dict[str, list[str]]:
    """How curl sends the body."""
    return {
        "-T": ["-T", str(body)],
        "--data-binary": ["-H", "Expect:", "--data-binary", f"@{body}"],
        "Expect": ["-H", "Expect: 100-continue", "--data-binary", f"@{body}"],
        "chunked": ["-H", "Transfer-Encoding: chunked", "-T", str(body)],
    }


def outcome(base: str, token: str, way: list[str], body: Path) -> str:
    """The status that curl shows, or its own error."""
    name = "taken" if "ten" in body.name else body.name
    done = subprocess.run(
        [
            *("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}"),
            *("-H", f"Authorization: Bearer {token}", *way, f"{base}/record?name={name}"),
        ],
        capture_output=True,
        text=True,
    )
    return done.stdout if done.returncode == 0 else f"{done.stdout} {done.stderr.strip()}"


def main() -> None:
    """Prints a line a case; exits 1 if any was not clean."""
    failed = False
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(bench())
        umusic = stack.enter_context(opened.umusic(max_upload_bytes="110MB"))
        nginx, _ = stack.enter_context(opened.nginx_before(umusic))
        scratch = opened.scratch
        wav = music(scratch / "ten.wav", 600)
        music(scratch / "large.wav", 640)
        text = scratch / "text.wav"
        text.write_text(NOT_A_WAV * 100_000)
        small = music(scratch / "small.wav", 1)
        assert outcome(umusic.url, umusic.token, ["-T", str(small)], wav) == "201"
        for front, base in (("nginx", nginx), ("direct", umusic.url)):
            for case, (due, token, body) in cases(umusic.token, wav, text).items():
                for way, options in ways(body).items():
                    got = collections.Counter(
                        outcome(base, token, options, body) for _ in range(TIMES)
                    )
                    failed |= got != {due: TIMES}
                    print(f"{front:6} {case:10} {way:13} due {due}: {dict(got)}", flush=True)
        left = [path for path in umusic.media.rglob("*") if path.is_file()]
        print(f"files in the media directory: {len(left)} (1 is due)")
        failed |= len(left) != 1
    sys.exit(failed)


if __name__ == "__main__":
    main()
