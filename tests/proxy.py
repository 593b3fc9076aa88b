"""A TCP proxy that does harm on the way: what is sent may be altered, an answer may be lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable


class Proxy:
    """In front of the server at `site`. `on_sent` is given each piece of what a client sends, and
    how many bytes went before it, and returns what goes on, or breaks the connection by a
    ConnectionError. The answers on the first `lost` connections never arrive: they are cut at the
    answer's first byte."""

    def __init__(
        self,
        site: str,
        *,
        on_sent: Callable[[bytes, int], bytes] = lambda piece, before: piece,
        lost: int = 0,
        method: str = "",
    ) -> None:
        host, _, port = site.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self.on_sent = on_sent
        self._lost = lost
        self._method = method.encode()
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Yields its URL."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._target)
        except ConnectionError:
            writer.close()
            return
        first = await reader.read(65536)
        loses = self._lost > 0 and first.startswith(self._method)
        self._lost -= loses
        sending = asyncio.create_task(self._pass_on(first, reader, back))
        try:
            while (piece := await there.read(65536)) and not loses:
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            sending.cancel()
            for side in (writer, back):
                side.close()
                with contextlib.suppress(ConnectionError):
                    await side.wait_closed()

    async def _pass_on(
        self, piece: bytes, reader: asyncio.StreamReader, back: asyncio.StreamWriter
    ) -> None:
        before = 0
        try:
            while piece:
                back.write(self.on_sent(piece, before))
                before += len(piece)
                await back.drain()
                piece = await reader.read(65536)
        except ConnectionError:
            back.close()
