"""How fast a body comes: whether it has stalled, or trickles.

Only the time spent waiting for the sender counts, not the time in which we hold it back. Knows no
clock of its own: all times are told, in seconds.
"""

#: Bytes per second that a body brings at least, on average over each window. A telephone's sound
#: has 8000, a sender that wants to hold a place as long as it can has one.
FLOOR = 256
#: Timers may go off a little early.
_EARLY = 0.01


class Pace:
    """The pace of one body. `window` is how long it may be silent, and the time over which its
    average is taken."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._bytes = 0
        #: Spent waiting in this window, before `_since`.
        self._waited = 0.0
        self._since = 0.0
        self._silent_since = 0.0

    def wait(self, now: float) -> float:
        """Begins to wait for more; returns when to look whether it is too slow."""
        self._since = self._silent_since = now
        return self._deadline()

    def arrive(self, now: float, count: int) -> None:
        """Takes note of `count` bytes that end the wait."""
        self._waited += now - self._since
        self._bytes += count

    def look(self, now: float) -> float | None:
        """While waiting: when to look again, or None if the body is too slow."""
        if now - self._silent_since >= self._window - _EARLY:
            return None
        self._waited += now - self._since
        self._since = now
        if self._waited >= self._window - _EARLY:
            if self._bytes < FLOOR * self._window:
                return None
            self._waited, self._bytes = 0.0, 0
        return self._deadline()

    def _deadline(self) -> float:
        window_end = self._since + max(self._window - self._waited, 0)
        return min(self._silent_since + self._window, window_end)
