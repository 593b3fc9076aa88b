"""What was asked for and what came back, over all clients: each promise is to be kept."""

import threading
from collections import Counter

#: Besides 4xx: what an upload may be answered under any fault.
_STATUSES = {201, 503, 507}


class Ledger:
    """Counts, promises (a link and the SHA-256 of what it gives, if that was told), surprises."""

    def __init__(self) -> None:
        self.uploads = 0
        self.ends: Counter[str] = Counter()
        self.promises: dict[str, str | None] = {}
        self.surprises: list[str] = []
        self._lock = threading.Lock()

    def begin(self) -> int:
        """Counts an upload; returns its number."""
        with self._lock:
            self.uploads += 1
            return self.uploads

    def note(self, status: int, what: str) -> None:
        """Counts how an attempt ended: with a status and the kind of problem, or with 0 and why
        there was no answer."""
        with self._lock:
            self.ends[f"{status} {what}".removeprefix("0 ").strip()] += 1
            if status and status not in _STATUSES and not 400 <= status < 500:
                self.surprises.append(f"an upload was answered with {status} {what}")

    def promise(self, link: str, sha256: str | None) -> None:
        """Takes note of a link that a client was given."""
        with self._lock:
            self.promises[link] = self.promises.get(link) or sha256

    def wonder(self, surprise: str) -> None:
        """Takes note of what must not happen."""
        with self._lock:
            self.surprises.append(surprise)
