"""When a body is too slow."""

import pytest

from umusic.web.pace import FLOOR, Pace

WINDOW = 60.0


def last(pieces: list[tuple[float, int]], *, held: float = 0) -> float | None:
    """When a body of these pieces (seconds after the last one was dealt with, bytes) is found too
    slow; None if it never is. Each piece takes `held` seconds to deal with."""
    pace, now = Pace(WINDOW), 1000.0
    for seconds, count in pieces:
        look, arrival = pace.wait(now), now + seconds
        while look < arrival:
            now = look
            again = pace.look(now)
            if again is None:
                return now - 1000
            assert again > now
            look = again
        pace.arrive(arrival, count)
        now = arrival + held
    return None


def test_silence_is_told_when_the_window_is_over() -> None:
    assert last([(1, 10**6), (100, 1)]) == pytest.approx(61)
    assert last([(100, 1)]) == pytest.approx(60)


def test_a_byte_every_second_is_told_when_the_window_is_over() -> None:
    assert last([(1, 1)] * 100) == pytest.approx(60)


def test_a_sender_of_four_kilobytes_per_second_goes_on_for_hours() -> None:
    assert last([(0.125, 500)] * 8 * 3600 * 2) is None


def test_the_floor_is_an_average_so_that_a_sender_may_come_in_bursts() -> None:
    assert last([(50, FLOOR * 60)] * 100) is None
    assert last([(50, FLOOR * 30)] * 100) is not None


def test_a_fast_beginning_does_not_pay_for_a_slow_end() -> None:
    told = last([(1, 10**9), *[(1, 1)] * 1000])
    assert told is not None and told < 121


def test_the_time_in_which_the_sender_is_held_back_does_not_count() -> None:
    assert last([(0.1, 1000)] * 100, held=50) is None
    assert last([(1, 1)] * 100, held=1) == pytest.approx(119, abs=2)
