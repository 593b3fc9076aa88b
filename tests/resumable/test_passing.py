"""A umusic without nginx before it that cannot go on for a moment, and clients that sleep: the same
upload goes on afterwards."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process import Process
from tests.resumable.conftest import HERE, Pages, ask, records, tus_js
from tests.resumable.poor_line import Break, PoorLine
from tests.resumable.test_clients import Send, by_a_browser, by_node, by_tuspy
from tests.wavs import take

pytestmark = pytest.mark.tus

AWAY_SECONDS = 2.5
#: Bytes that a browser may send in vain before it hears that they are not wanted from there.
MOST = 4 * 2**20


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "a take.wav"
    path.write_bytes(take(60.0))
    return path


def after(seconds: float, do: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, do)
    timer.start()
    return timer


def begun(umusic: Process) -> int:
    """How many uploads were begun."""
    return umusic.log.read_text().count("POST /uploads 201")


@pytest.mark.parametrize("kind", ["tuspy", "tus-js-client in node", "tus-js-client in Chromium"])
def test_a_volume_that_is_away_for_a_moment_loses_nothing(
    kind: str, start: Any, pages: Pages, wav: Path
) -> None:
    senders: dict[str, Send] = {
        "tuspy": by_tuspy,
        "tus-js-client in node": by_node,
        "tus-js-client in Chromium": by_a_browser(pages),
    }
    umusic = start(cors_origins=pages.origin)
    token = umusic.register(kind)
    media = umusic.directory / "media"
    elsewhere = media.with_name("elsewhere")
    back = threading.Timer(AWAY_SECONDS, lambda: elsewhere.rename(media))
    with PoorLine(f"http://127.0.0.1:{umusic.port}").running() as line:

        def strike() -> None:
            media.rename(elsewhere)
            back.start()
            line.cut()

        line.breaks = [Break(wav.stat().st_size // 2, strike)]
        url = senders[kind](f"{line.url}/uploads", token, wav)
        back.join()
        assert ask(url)["state"] == "done"
    # What a browser sends once more of itself, from where it began, is soon cut off.
    assert line.repeated[1] <= MOST
    assert (begun(umusic), len(records(f"http://127.0.0.1:{umusic.port}", token))) == (1, 1)


def test_a_client_that_sleeps_goes_on_when_it_wakes(start: Any, wav: Path) -> None:
    umusic = start(body_timeout="1")
    site = f"http://127.0.0.1:{umusic.port}"
    token = umusic.register("sleeper")
    assert shutil.which("node"), "this needs node: apt-get install nodejs"
    with PoorLine(site).running() as line:
        node = subprocess.Popen(
            ["node", str(HERE / "upload.cjs"), str(tus_js()), f"{line.url}/uploads", str(wav)],
            env={"PATH": os.environ["PATH"], "UMUSIC_TOKEN": token},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        timers: list[threading.Timer] = []

        def sleep() -> None:
            node.send_signal(signal.SIGSTOP)
            timers.append(after(AWAY_SECONDS, lambda: node.send_signal(signal.SIGCONT)))

        line.breaks = [Break(wav.stat().st_size // 2, sleep)]
        _, errors = node.communicate(timeout=60)
        assert node.returncode == 0, errors
        assert timers
    assert '"status": 423' in umusic.log.read_text()
    assert (begun(umusic), len(records(site, token))) == (1, 1)
