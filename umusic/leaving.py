"""Taking leave of those who are connected: whoever has been let in is answered.

A proxy that keeps connections learns that one is about to be closed from an answer, or by closing
it itself. Until then it may send a request at any time, and if that met a closed connection its
client would get a 502, or an upload would be sent in vain.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from umusic.listening import Listening, any_waits

#: What a handshake may take that has begun when nobody is let in any more.
_HANDSHAKE_SECONDS = 0.05
#: Turns of the loop that those get to be let in who have connected; each lets in many.
_ENTRY_ROUNDS = 100


class Server(HTTPServer):
    """Tornado's server, which knows when the last connection is closed."""

    _open = 0

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Takes what Tornado's takes."""
        super().initialize(*args, **kwargs)
        self._empty = asyncio.Event()
        self._empty.set()

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        self._open += 1
        self._empty.clear()
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        self._open -= 1
        if not self._open:
            self._empty.set()

    async def lock_up(self, sockets: Sequence[Listening]) -> None:
        """Stops listening, once all are let in who have connected. With a plain close the kernel
        would reset those in its queue, who may have sent their requests already."""
        for listening in sockets:
            listening.turn_away()
        await asyncio.sleep(_HANDSHAKE_SECONDS)
        for _ in range(_ENTRY_ROUNDS):
            if not any_waits(sockets):
                break
            await asyncio.sleep(0)  # Tornado accepts up to 128 of them
        self.stop()

    async def empty(self, seconds: float) -> None:
        """Waits until no connection is open, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)
