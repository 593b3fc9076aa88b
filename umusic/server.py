"""Start, drain, stop."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tornado.web import Application

from umusic.app import Services, make_app, services
from umusic.errors import Draining, StartError, Unavailable
from umusic.leaving import Server
from umusic.listening import Listening, listen
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
#: What a proxy gets after SIGTERM to close the connections that it keeps idle. nginx does so after
#: 5 s (nginx/umusic.conf.template).
PARTING_SECONDS = 6.0
#: Between two sweeps. One is due at the start, but whoever crashes may not start again.
SWEEP_SECONDS = 3600.0
#: Between two looks at resumable uploads: what has expired is gone within a minute.
TEND_SECONDS = 30.0
#: What refused and aborted requests get to be answered before their connections are closed.
_FAREWELL_SECONDS = 1.0


def make_server(app: Application) -> Server:
    """The HTTP server for the application."""
    return Server(
        app,
        chunk_size=_CHUNK_BYTES,
        max_body_size=_NO_BODY_LIMIT,
        max_header_size=_HEADER_BYTES,
        idle_connection_timeout=HEAD_SECONDS,
    )


def bind(settings: Settings) -> list[Listening]:
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


async def serve(settings: Settings, *, database_url: str, ffmpeg: Path) -> None:
    """Serves until SIGINT or SIGTERM, then drains.

    Raises:
        StartError: the media directory or the address cannot be used.
    """
    stop = _stop_signal()
    async with services(settings, database_url=database_url, ffmpeg=ffmpeg) as running:
        await running.media.prepare()
        # Only now, so that a proxy sends nothing here while others are ready and this one is not.
        sockets = bind(settings)
        server = make_server(make_app(settings, running))
        server.add_sockets(sockets)
        print(_greeting(settings.host, sockets[0].getsockname()[1]), flush=True)
        sweeps = [
            asyncio.create_task(_now_and_then(SWEEP_SECONDS, _sweeps(running))),
            asyncio.create_task(_now_and_then(TEND_SECONDS, [running.resumptions.tend])),
        ]
        number = await stop
        for task in sweeps:
            task.cancel()
        await asyncio.wait(sweeps)
        # Ctrl-C comes from somebody who waits, and who has no proxy.
        parting = PARTING_SECONDS if number == signal.SIGTERM else 0.0
        await _drain(server, sockets, running, parting, settings.drain_seconds)


def _stop_signal() -> "asyncio.Future[int]":
    """The number of the first SIGINT or SIGTERM; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()

    def on_signal(number: int) -> None:
        stop.set_result(number)
        for each in _STOP_SIGNALS:
            loop.remove_signal_handler(each)

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    return stop


async def _drain(
    server: Server, sockets: Sequence[Listening], running: Services, parting: float, seconds: float
) -> None:
    """Lets nobody in; serves those who are there as ever, while they are and for `parting` seconds
    at most; then takes no new uploads. What is running then has until `seconds` from the start."""
    lifecycle = running.lifecycle
    lifecycle.draining = True
    end = asyncio.get_running_loop().time() + seconds
    if parting:
        await server.lock_up(sockets)
        await server.empty(min(parting, seconds))
    else:
        server.stop()
    running.keeper.drain()
    running.resumptions.drain()
    running.waveforms.drain()
    left = max(end - asyncio.get_running_loop().time(), 0)
    if lifecycle.requests:
        log.info("%d running requests get %.3g s to end", lifecycle.requests, left)
    await lifecycle.idle(left)
    await lifecycle.refuse_waiting(Draining())
    await running.waveforms.abort_all()
    await running.resumptions.close()
    await running.keeper.abort_all()
    await lifecycle.idle(_FAREWELL_SECONDS)
    await server.close_all_connections()


def _sweeps(running: Services) -> Sequence[Callable[[], Awaitable[object]]]:
    return running.audit.sweep, running.keys.sweep


async def _now_and_then(seconds: float, sweeps: Sequence[Callable[[], Awaitable[object]]]) -> None:
    while True:
        for sweep in sweeps:
            try:
                await sweep()
            except Unavailable as exc:
                log.warning("a sweep was cut short, the next one goes on: %r", exc.__cause__ or exc)
            except Exception:
                log.exception("a sweep failed; the next one tries again")
        await asyncio.sleep(seconds)


def _greeting(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return (
        f"umusic listens on http://{shown}:{port} - next: "
        f'curl -s http://{shown}:{port}/user -d \'{{"name":"Your Name"}}\''
    )
