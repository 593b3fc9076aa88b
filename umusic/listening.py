"""The sockets that are listened on, and what becomes of callers when descriptors have run out."""

import contextlib
import ctypes
import logging
import os
import select
import socket
import struct
import time
from collections.abc import Iterable
from typing import Any

from tornado.netutil import bind_sockets

from umusic.errors import lacking

log = logging.getLogger(__name__)

#: Between two lines of the log that say the same.
_QUIET_SECONDS = 10.0
#: A packet filter (socket(7), SO_ATTACH_FILTER) over TCP headers, of classic BPF's instructions.
_SO_ATTACH_FILTER = 26
_NO_SYN = (
    (0x30, 0, 0, 13),  # load the byte of flags
    (0x45, 0, 1, 0x02),  # is SYN among them?
    (0x06, 0, 0, 0),  # yes: drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # no: take it
)


class Listening(socket.socket):
    """A listening socket that hangs up on callers while there is no descriptor for them.

    Tornado would leave them in the queue, where the loop finds them again at once: it would turn
    without a pause and fill the log. One descriptor is kept spare to take them with.
    """

    _spare = -1
    _said = -_QUIET_SECONDS

    def keep_spare(self) -> None:
        """Sees to it that there is a spare descriptor, if there can be one."""
        if self._spare < 0:
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def accept(self) -> tuple[socket.socket, Any]:
        try:
            accepted = super().accept()
        except OSError as exc:
            if lacking(exc) is None:
                raise
            self._hang_up(exc)
            raise BlockingIOError from exc
        self.keep_spare()
        return accepted

    def turn_away(self) -> None:
        """Lets nobody begin a connection from here on, but those end their handshake that have
        begun. A kernel without packet filters goes on as before."""
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _NO_SYN))
        program = struct.pack("HP", len(_NO_SYN), ctypes.addressof(code))
        with contextlib.suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def close(self) -> None:
        super().close()
        self._give_spare()

    def _hang_up(self, why: OSError) -> None:
        if time.monotonic() - self._said > _QUIET_SECONDS:
            self._said = time.monotonic()
            log.error("connections cannot be taken, and are closed: %s", why)
        self._give_spare()
        with contextlib.suppress(OSError):
            super().accept()[0].close()
        self.keep_spare()

    def _give_spare(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1


def listen(port: int, host: str) -> list[Listening]:
    """Listens on all addresses of the host. Raises OSError if they cannot be had."""
    sockets: list[Listening] = []
    for bound in bind_sockets(port, host):
        listening = Listening(fileno=bound.detach())
        listening.setblocking(False)
        listening.keep_spare()
        sockets.append(listening)
    return sockets


def any_waits(sockets: Iterable[socket.socket]) -> bool:
    """Whether somebody has connected to one of the sockets and has not been accepted yet."""
    poll = select.poll()
    for listening in sockets:
        poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))
