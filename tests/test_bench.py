"""The bench: what it makes of what it measures. `make bench-quick` runs all of it."""

from pathlib import Path

import pytest

from bench import report
from bench.load import Request, upload
from bench.rounds import Row, run
from bench.wavs import music
from tests.process import Process


def row(umusic: list[float], baseline: list[float], **more: object) -> Row:
    return Row("Time", "1 MB", "s", {"umusic": umusic, "baseline": baseline}, **more)  # type: ignore[arg-type]


def test_all_sides_take_turns_in_an_order_that_is_turned_round() -> None:
    turns: list[str] = []
    rounds = run(
        {side: lambda side=side: turns.append(side) or {"n": len(turns)} for side in "ab"},  # type: ignore[misc, dict-item]
        3,
    )
    assert "".join(turns) == "ab" + "ab" + "ba" + "ab"
    assert rounds.found == {"a": {"n": [3, 6, 7]}, "b": {"n": [4, 5, 8]}}


def test_ratios_are_taken_round_by_round() -> None:
    # The machine is slow in the second round: both take ten times as long.
    assert row([1, 10, 1], [2, 20, 2]).ratios("umusic", "baseline") == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("umusic", "more_is_better", "verdict"),
    [
        ([1.0, 1.0, 1.0], False, "ahead"),
        ([1.0, 1.0, 1.0], True, "behind"),
        ([3.0, 3.0, 3.0], True, "ahead"),
        ([1.0, 2.0, 3.0], False, "level"),
    ],
)
def test_ahead_or_behind_is_what_both_quartiles_are(
    umusic: list[float], more_is_better: bool, verdict: str
) -> None:
    assert row(umusic, [2.0] * 3, more_is_better=more_is_better).verdict() == verdict


def test_a_row_in_which_the_baseline_is_ahead_says_why() -> None:
    about = {"seconds": 1, "cores": 2}
    behind = report.markdown(about, [row([2.0] * 5, [1.0] * 5, why="It does more.")])
    assert (
        "**behind** |" in behind and "It does more." in behind and "behind in 1 of 1 rows" in behind
    )
    ahead = report.markdown(about, [row([1.0] * 5, [2.0] * 5, why="It does more.")])
    assert (
        "**behind** |" not in ahead
        and "It does more." not in ahead
        and "ahead in 1 of 1 rows" in ahead
    )


def test_its_load_goes_to_the_loopback_alone() -> None:
    with pytest.raises(AssertionError, match="loopback"):
        upload(Request("http://192.0.2.1/record", "PUT", {}), Path("none.wav"))


def test_its_load_sends_at_once_and_at_a_pace(tmp_path: Path) -> None:
    server = Process(tmp_path)
    try:
        wav = music(tmp_path / "take.wav", 1)
        token = server.register("Ann")
        url = f"http://127.0.0.1:{server.port}/record"
        request = Request(url, "PUT", {"Authorization": f"Bearer {token}"})
        sent = upload(request, wav, pace=wav.stat().st_size / 0.3, count=3)
        assert [one.status for one in sent] == [201] * 3
        assert all(0 < one.lag < one.seconds and one.seconds > 0.25 for one in sent)
    finally:
        server.close()
