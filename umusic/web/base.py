"""What all handlers share: reading bodies as they come, and refusing politely.

Every handler streams, so that no body is ever held whole: the default takes small ones.
"""

import contextlib
import functools
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json
from tornado.concurrent import Future
from tornado.http1connection import HTTP1Connection
from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler, stream_request_body

from umusic import logs
from umusic.errors import (
    BodyStalled,
    InvalidField,
    MalformedFraming,
    RecordNameTaken,
    TooLarge,
    UmusicError,
)
from umusic.library.models import Record
from umusic.web.cors import Cors
from umusic.web.errors import Problem, as_umusic_error, phrase_of, status_of
from umusic.web.framing import Framing, check_expectation, check_query
from umusic.web.lifecycle import Lifecycle
from umusic.web.links import Links
from umusic.web.pace import Pace
from umusic.web.trace import TracedHandler, traced

log = logging.getLogger(__name__)

#: A body that is not an upload may have this many bytes.
MAX_SMALL_BODY = 64 * 1024
#: How long the rest of a refused body is thrown away, in seconds: in all, and without a byte.
LINGER_SECONDS = 30.0
LINGER_IDLE_SECONDS = 5.0
#: What takes the place of a method that HTTP does not know; there is no verb of this name.
UNKNOWN_METHOD = "UNKNOWN"


@stream_request_body
class BaseHandler(TracedHandler):
    """A handler whose errors become problem details, whatever is still on its way.

    Subclasses override `admit` (before the body), `receive` (each piece of it), the HTTP verbs
    (after it) and `clean_up` (once, at the end, however it ended). All may raise. The first two may
    also `answer_early`: then there is no more to receive, and no verb.
    """

    # Tornado refuses unknown methods before `prepare`, with the body unread.
    SUPPORTED_METHODS = (*RequestHandler.SUPPORTED_METHODS, UNKNOWN_METHOD)
    framing = Framing(length=None, chunked=False)
    #: How long the rest of a refused body is thrown away; with what one is refused that stalls.
    linger_seconds = LINGER_SECONDS
    stalled: type[UmusicError] = BodyStalled
    #: What the path takes, where OPTIONS is not MethodHandler's.
    METHODS: tuple[str, ...] = ()
    _cors_headers: Mapping[str, str] = MappingProxyType({})

    def initialize(  # type: ignore[override]
        self, lifecycle: Lifecycle, links: Links, cors: Cors, body_timeout: float, **tracing: Any
    ) -> None:
        """Takes what every handler needs; `body_timeout` in seconds."""
        super().initialize(**tracing)
        self.cors = cors
        self._cors_headers = cors.headers(self.request, self.METHODS)
        self.set_headers_of(self._cors_headers)
        self.lifecycle = lifecycle
        self.links = links
        self._pace = Pace(body_timeout)
        self._stall_timer: object | None = None
        self._arrivals = 0
        self._small_body = bytearray()
        self._answered = False
        self._body_ended = False
        self._linger_end = 0.0
        self._linger_timer: object | None = None
        self._running = False
        if self.request.method not in self.SUPPORTED_METHODS:
            self.request.method = UNKNOWN_METHOD

    async def admit(self) -> None:
        """Looks whether the request is welcome, before its body is read."""

    async def receive(self, data: bytes) -> None:
        """Takes a piece of the body. The default keeps it, up to `MAX_SMALL_BODY`."""
        if len(self._small_body) + len(data) > MAX_SMALL_BODY:
            raise TooLarge(f"At most {MAX_SMALL_BODY} bytes are taken here.", limit=MAX_SMALL_BODY)
        self._small_body += data

    async def clean_up(self) -> None:
        """Lets go of what the request held."""

    # --- Tornado's side -----------------------------------------------------------------------

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Server", "umusic")
        self.set_header("X-Content-Type-Options", "nosniff")
        # None when Tornado's constructor calls this, before `initialize`.
        self.set_headers_of(self._cors_headers)

    async def prepare(self) -> None:
        # This task is the request's alone.
        logs.bind_request(self.request_id)
        self._running = True
        self.lifecycle.begin_request()
        if self.lifecycle.draining:
            self._close_when_done()
        # Tornado calls the verb when the body has ended, and nothing else tells of that.
        verb = (self.request.method or "").lower()
        wanted = getattr(self, verb, self._unimplemented_method)
        setattr(self, verb, functools.partial(self._on_body_end, wanted))
        try:
            self.framing = Framing.of(self.request.headers)
            check_query(self.request.query)
            check_expectation(self.request.headers)
            await self.admit()
            if self.framing.has_body:
                self._watch()
        except Exception as exc:
            await self.refuse(exc)

    @traced
    async def data_received(self, chunk: bytes) -> None:
        self.count_body(len(chunk))
        # It must not raise: Tornado would close the socket without an answer.
        if self._answered:
            self._rearm_linger()
            return
        self.unwatch()
        self._pace.arrive(IOLoop.current().time(), len(chunk))
        try:
            await self.receive(chunk)
            self._watch()
        except Exception as exc:
            await self.refuse(exc)

    async def _on_body_end(self, verb: Callable[..., Awaitable[None] | None], *args: str) -> None:
        self.unwatch()
        self._body_ended = True
        if self._answered:
            self._end_answer()
        elif (answer := verb(*args)) is not None:
            await answer

    def on_finish(self) -> None:
        self._end()

    def on_connection_close(self) -> None:
        with logs.of_request(self.request_id):
            super().on_connection_close()
            self._end()

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> "Future[None]":
        # Not if the answer's head is out, and did not say so: then the next answer will.
        if self.lifecycle.draining and not self._headers_written:
            self._close_when_done()
        return super().finish(chunk)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        _, exc, _ = kwargs.get("exc_info", (None, None, None))
        self.write_problem(as_umusic_error(exc) if exc else UmusicError())
        self.finish()

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if isinstance(value, StreamClosedError):
            return
        error = as_umusic_error(value) if value else UmusicError()
        if type(error) is UmusicError:
            log.error("%s %s failed", self.request.method, self.shown_path, exc_info=value)
        elif error.__cause__ is not None and status_of(type(error)) >= 500:
            log.warning("%s: %r", error.code, error.__cause__)

    # --- answers ------------------------------------------------------------------------------

    def reply(self, status: int, answer: BaseModel | Mapping[str, object] | str) -> None:
        """Answers with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        body = to_json(answer)
        self.set_header("Content-Length", len(body))
        self.write(body)

    def set_headers_of(self, headers: Mapping[str, str]) -> None:
        """Sets all of the headers."""
        for name, value in headers.items():
            self.set_header(name, value)

    def write_problem(self, error: UmusicError) -> None:
        """Answers with problem details; does not finish."""
        if isinstance(error, RecordNameTaken) and "record" in error.members:
            user, record = error.members["user"], error.members["record"]
            error.members["link"] = self.links.record(
                self.request, uuid.UUID(str(user)), uuid.UUID(str(record))
            )
        self.problem = error.code
        self.metrics.problem_told(error.code)
        problem = Problem(error)
        body = problem.body()
        self.set_status(problem.status, phrase_of(problem.status))
        self.set_headers_of(problem.headers)
        self.set_header("Content-Length", len(body))
        self.write(body)

    @traced
    async def refuse(self, exc: Exception) -> None:
        """Answers with the problem, politely also while the body is still arriving."""
        if self._answered or self._body_ended:
            return
        self.log_exception(type(exc), exc, exc.__traceback__)
        error = as_umusic_error(exc)
        self.write_problem(error)
        if isinstance(error, MalformedFraming):
            self._answered = True
            self._close_when_done()
            await self.finish()
        else:
            await self.answer_early()

    async def answer_early(self) -> None:
        """Sends what has been written as the answer, while the body may still be arriving.

        Closing at once would make the kernel answer what still arrives with a reset, and nginx
        make 502 of it. So the answer is flushed, not finished, and the rest of the body thrown
        away for a bounded time, until it or the peer ends.
        """
        self._answered = True
        self.unwatch()
        if not self.framing.has_body:
            # To finish before Tornado has read that would make it close the connection unsaid.
            return
        self._close_when_done()
        # Tornado would send a 100 after our answer.
        self.request.headers.pop("Expect", None)
        self._linger_end = IOLoop.current().time() + self.linger_seconds
        self._rearm_linger()
        # First, so that whoever reads the answer finds nothing left of the upload.
        await self._clean_up_safely()
        with contextlib.suppress(StreamClosedError):
            await self.flush()

    # --- what a request says ------------------------------------------------------------------

    def small_body(self) -> bytes:
        """The body, where `receive` was left as it is."""
        return bytes(self._small_body)

    def query(self, name: str) -> str | None:
        """A parameter of the query string, as it is: Tornado's own way drops control characters.

        Raises:
            InvalidField: it is not UTF-8.
        """
        values = self.request.query_arguments.get(name)
        try:
            return values[-1].decode() if values else None
        except UnicodeDecodeError as exc:
            raise InvalidField(f"{name} is not UTF-8.", field=name) from exc

    def link_of(self, record: Record) -> str:
        """Where the record's MP3 is, for whoever sent this request."""
        return self.links.record(self.request, record.user_id, record.id)

    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer …` (RFC 6750, 2.1)."""
        scheme, _, token = self.request.headers.get("Authorization", "").strip().partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None

    # --- stalls -------------------------------------------------------------------------------

    def unwatch(self) -> None:
        """Stops waiting for more of the body: some has come, or its end."""
        self._arrivals += 1
        self.lifecycle.waiting.discard(self.refuse)
        if self._stall_timer is not None:
            IOLoop.current().remove_timeout(self._stall_timer)
            self._stall_timer = None

    def _watch(self) -> None:
        if self._answered:
            return
        self.lifecycle.waiting.add(self.refuse)
        self._look_at(self._pace.wait(IOLoop.current().time()))

    def _look_at(self, time: float) -> None:
        self._stall_timer = IOLoop.current().call_at(time, self._look)

    def _look(self) -> None:
        again = self._pace.look(IOLoop.current().time())
        if again is None:
            self.lifecycle.spawn(self._refuse_stalled(self._arrivals))
        else:
            self._look_at(again)

    async def _refuse_stalled(self, arrivals: int) -> None:
        if arrivals == self._arrivals:
            await self.refuse(self.stalled())

    # --- lingering ----------------------------------------------------------------------------

    def _rearm_linger(self) -> None:
        loop = IOLoop.current()
        if self._linger_timer is not None:
            loop.remove_timeout(self._linger_timer)
        deadline = min(self._linger_end, loop.time() + LINGER_IDLE_SECONDS)
        self._linger_timer = loop.call_at(deadline, self._end_answer)

    def _end_answer(self) -> None:
        if not self._finished:
            self.finish()

    def _close_when_done(self) -> None:
        """Has the connection closed after the answer, and the answer say so."""
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection):
            # Tornado itself goes by the request's header alone.
            connection._disconnect_on_finish = True

    async def _clean_up_safely(self) -> None:
        try:
            await self.clean_up()
        except Exception:
            log.exception("the clean-up of %s %s failed", self.request.method, self.shown_path)

    def _end(self) -> None:
        if not self._running:
            return
        self._running = False
        self.lifecycle.end_request()
        self.unwatch()
        if self._linger_timer is not None:
            IOLoop.current().remove_timeout(self._linger_timer)
            self._linger_timer = None
        self.lifecycle.spawn(self._clean_up_safely())
