"""A gateway before a real S3 that can fail: a TCP relay."""

import asyncio
import contextlib

from tests.front import unused_port


class Gateway:
    """Passes all on to the S3 at `endpoint`, unless `fault` says otherwise: "hangs" (never
    answers), "cuts" (hangs up in the middle of what it is sent), or the status line that it answers
    to all, maybe with headers. While it is closed it refuses connections."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._port = unused_port()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = f"http://127.0.0.1:{self._port}"
        self.fault = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    async def close(self) -> None:
        """Also hangs up on all."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def fail(self, fault: str) -> None:
        """Fails from here on, those included who are connected; "away" is closed."""
        await self.close()
        self.fault = fault
        if fault != "away":
            await self.open()

    async def mend(self) -> None:
        await self.close()
        self.fault = ""
        await self.open()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            if self.fault == "hangs":
                while await reader.read(65536):
                    pass
            elif self.fault == "cuts":
                await reader.read(65536)
                writer.transport.abort()
            elif self.fault:
                await reader.read(65536)
                head = f"HTTP/1.1 {self.fault}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                writer.write(head.encode())
                await writer.drain()
            else:
                there, back = await asyncio.open_connection(*self._target)
                with contextlib.closing(back):
                    sending = asyncio.create_task(_pump(reader, back))
                    try:
                        await _pump(there, writer)
                    finally:
                        sending.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
