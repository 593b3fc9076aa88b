"""What is kept of a request besides its answer: an id, a line in the log, and what is counted."""

import functools
import logging
import re
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from umusic import logs
from umusic.metrics import Metrics
from umusic.web.proxies import TrustedProxies

log = logging.getLogger("umusic.access")

#: In the log and the metrics alone, as nginx has it.
CLIENT_GONE = 499
REQUEST_ID = "X-Request-ID"

#: What is known of an upload's path is all that it takes to go on with it, or to end it.
_SECRET_PATH = re.compile(r"^(/+uploads/+)[^/]+", re.IGNORECASE)
_SANE_ID = re.compile(r"[A-Za-z0-9_.-]{8,128}")
#: Before each capital letter but the first.
_HUMP = re.compile(r"(?<=.)(?=[A-Z])")

P = ParamSpec("P")
T = TypeVar("T")
H = TypeVar("H", bound="TracedHandler")


class TracedHandler(RequestHandler):
    """A handler whose requests have an id, which the answer tells; each is logged and counted."""

    #: What the metrics call this handler.
    label = "traced"
    request_id = ""
    #: The code of the problem that was told, if any was.
    problem: str | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.label = _HUMP.sub("_", cls.__name__.removesuffix("Handler")).lower()

    def initialize(self, metrics: Metrics, proxies: TrustedProxies) -> None:
        """Takes where to count, and whose ids are taken over."""
        self.metrics = metrics
        #: Whether a trusted proxy sent the request.
        self.from_proxy = proxies.sent(self.request)
        self.request_id = request_id_of(self.request, self.from_proxy)
        self.set_header(REQUEST_ID, self.request_id)
        self._bytes_in = 0
        self._logged = False

    @property
    def shown_path(self) -> str:
        """The request's path as a log may have it. The query string holds links and tokens."""
        return _SECRET_PATH.sub(r"\1…", self.request.path)

    def measure(self) -> None:
        """Counts what a kind of request has of its own. Called once: at the end of the answer, or
        when the client is gone."""

    def count_body(self, size: int) -> None:
        """Counts bytes of the body."""
        self._bytes_in += size
        self.metrics.body_came(size)

    def set_default_headers(self) -> None:
        # Called by Tornado's constructor as well, before `initialize`.
        if self.request_id:
            self.set_header(REQUEST_ID, self.request_id)

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if not self._headers_written:
            self.set_status(CLIENT_GONE, "Client Closed Request")
        self._log()

    def _log(self) -> None:
        if self._logged:
            return
        self._logged = True
        method, status = str(self.request.method), self.get_status()
        seconds = self.request.request_time()
        kind = "gone" if status == CLIENT_GONE else f"{status // 100}xx"
        self.metrics.request_ended(self.label, method, kind, seconds)
        self.measure()
        said = {
            "method": method,
            "path": self.shown_path,
            "status": status,
            "duration": round(seconds, 6),
            "bytes_in": self._bytes_in,
            **({"problem": self.problem} if self.problem else {}),
        }
        with logs.of_request(self.request_id):
            log.info(
                "%s %s %d %.1f ms", method, self.shown_path, status, 1000 * seconds, extra=said
            )


def traced(
    method: Callable[Concatenate[H, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[H, P], Coroutine[Any, Any, T]]:
    """A method of a handler, so that all that is logged during it bears the request's id.

    For each that Tornado or a timer calls: some run in the task of the connection, which has
    other requests before and after.
    """

    @functools.wraps(method)
    async def call(handler: H, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with logs.of_request(handler.request_id):
            return await method(handler, *args, **kwargs)

    return call


def request_id_of(request: HTTPServerRequest, from_proxy: bool) -> str:
    """The id that a trusted proxy gave the request, or else a new one."""
    told = request.headers.get(REQUEST_ID, "")
    if from_proxy and _SANE_ID.fullmatch(told):
        return told
    return uuid.uuid4().hex
