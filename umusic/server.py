"""Start, drain, stop."""

import asyncio
import contextlib
import logging
import signal
import socket
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.web import Application

from umusic.app import Services, make_app, services
from umusic.errors import Draining, StartError
from umusic.listening import listen
from umusic.settings import Settings

log = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Tornado's own limit only has to be out of the way: every handler limits its body itself.
_NO_BODY_LIMIT = 2**62
_CHUNK_BYTES = 256 * 1024
#: From the answer before, or the connection, to the end of a request's head: Tornado knows only one
#: time for both. Longer than nginx keeps idle connections (nginx/umusic.conf.template), so that it
#: never sends a request into one that is being closed.
HEAD_SECONDS = 45.0
_HEADER_BYTES = 32 * 1024
#: What refused and aborted requests get to be answered before their connections are closed.
_FAREWELL_SECONDS = 1.0


def make_server(app: Application) -> HTTPServer:
    """The HTTP server for the application."""
    return HTTPServer(
        app,
        chunk_size=_CHUNK_BYTES,
        max_body_size=_NO_BODY_LIMIT,
        max_header_size=_HEADER_BYTES,
        idle_connection_timeout=HEAD_SECONDS,
    )


def bind(settings: Settings) -> list[socket.socket]:
    """Takes the address that is to be served on.

    Raises:
        StartError: it cannot be had.
    """
    try:
        return listen(settings.port, settings.host)
    except OSError as exc:
        raise StartError(
            f"{settings.host}:{settings.port} cannot be served on ({exc.strerror}): set "
            "UMUSIC_HOST and UMUSIC_PORT to an address that is free."
        ) from exc


async def serve(
    settings: Settings, sockets: list[socket.socket], *, database_url: str, ffmpeg: Path
) -> None:
    """Serves until SIGINT or SIGTERM, then drains."""
    stop = _stop_event()
    async with services(settings, database_url=database_url, ffmpeg=ffmpeg) as running:
        await asyncio.to_thread(running.media.prepare)
        server = make_server(make_app(settings, running))
        server.add_sockets(sockets)
        print(_greeting(settings.host, sockets[0].getsockname()[1]), flush=True)
        sweep = asyncio.create_task(_sweep(running))
        await stop.wait()
        sweep.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sweep
        await _drain(server, running, settings.drain_seconds)


def _stop_event() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; a second one ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    return stop


async def _drain(server: HTTPServer, running: Services, seconds: float) -> None:
    """Takes no new requests, and gives the running ones `seconds` to end."""
    server.stop()
    running.keeper.drain()
    lifecycle = running.lifecycle
    lifecycle.draining = True
    if lifecycle.requests:
        log.info("%d running requests get %g s to end", lifecycle.requests, seconds)
    await lifecycle.idle(seconds)
    await lifecycle.refuse_waiting(Draining())
    await running.keeper.abort_all()
    await lifecycle.idle(_FAREWELL_SECONDS)
    await server.close_all_connections()


async def _sweep(running: Services) -> None:
    try:
        await running.audit.sweep()
        await running.keys.sweep()
    except Exception:
        log.exception("the sweep of what crashes left failed; the next start tries again")


def _greeting(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return (
        f"umusic listens on http://{shown}:{port} - next: "
        f'curl -s http://{shown}:{port}/user -d \'{{"name":"Your Name"}}\''
    )
