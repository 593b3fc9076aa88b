"""What the stop of umusic has to know of its requests."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


class Lifecycle:
    """Whether umusic is about to stop, and what it has to wait for then."""

    def __init__(self) -> None:
        self.draining = False
        #: Requests that are not answered to their end.
        self.requests = 0
        #: How to refuse the requests that wait for more of their body.
        self.waiting: set[Callable[[Exception], Awaitable[None]]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin_request(self) -> None:
        """Counts a request that has come in."""
        self.requests += 1
        self._idle.clear()

    def end_request(self) -> None:
        """Counts it as answered to its end, or gone."""
        self.requests -= 1
        if not self.requests:
            self._idle.set()

    async def idle(self, seconds: float) -> None:
        """Waits until no request is running, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    async def refuse_waiting(self, error: Exception) -> None:
        """Refuses the requests that wait for more of their body."""
        refusals = (refuse(error) for refuse in list(self.waiting))
        await asyncio.gather(*refusals, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` beside everything else; `settle` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Waits until all that was spawned has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)
