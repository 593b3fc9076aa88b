"""/healthz, /readyz, /metrics, /problems/…, and what is answered where there is nothing."""

from typing import Any

from umusic.errors import Draining, MethodUnknown, PathUnknown, UmusicError
from umusic.library.database import Database
from umusic.library.media import Media
from umusic.metrics import CONTENT_TYPE
from umusic.web.base import BaseHandler
from umusic.web.errors import problem_types, status_of
from umusic.web.schemas import Health


class HealthHandler(BaseHandler):
    """/healthz: the process is alive. It asks nobody else."""

    def get(self) -> None:
        """Says so."""
        self.reply(200, Health(status="ok"))

    head = get


class ReadyHandler(BaseHandler):
    """/readyz: uploads would be taken now."""

    def initialize(  # type: ignore[override]
        self, database: Database, media: Media, **common: Any
    ) -> None:
        """Takes what is asked, and what every handler does."""
        super().initialize(**common)
        self._database = database
        self._media = media

    async def get(self) -> None:
        """Says so, or 503 and why not."""
        if self.lifecycle.draining:
            raise Draining
        await self._database.ping()
        await self._media.check_ready()
        self.reply(200, Health(status="ready"))

    head = get


class MetricsHandler(BaseHandler):
    """/metrics: how umusic fares, for Prometheus. It asks nobody else, nor the database."""

    def get(self) -> None:
        """Tells all metrics."""
        self.set_header("Content-Type", CONTENT_TYPE)
        self.write(self.metrics.exposition())

    head = get


class ProblemHandler(BaseHandler):
    """/problems/CODE: what a problem's `type` means."""

    def get(self, code: str) -> None:
        """Tells the status and the sentence."""
        kind = problem_types().get(code)
        if kind is None:
            raise PathUnknown
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(f"{code} (HTTP status {status_of(kind)})\n\n{kind.sentence()}\n")

    head = get


class NothingHandler(BaseHandler):
    """Where there is nothing: 404."""

    async def admit(self) -> None:
        raise PathUnknown


class MethodHandler(BaseHandler):
    """Where there is something, but not by this method: 405 with Allow (RFC 9110, 15.5.6). But a
    browser that asks with OPTIONS what a page of another site may do is answered."""

    def initialize(self, allow: str, **common: Any) -> None:  # type: ignore[override]
        """`allow` lists the methods that the path takes."""
        self._allow = allow
        super().initialize(**common)

    def write_problem(self, error: UmusicError) -> None:
        super().write_problem(error)
        self.set_header("Allow", self._allow)

    async def admit(self) -> None:
        permission = self.cors.preflight(self.request, self._allow)
        if permission is None:
            raise MethodUnknown(f"This path takes {self._allow}.")
        self.set_headers_of(permission)

    def options(self, *args: str) -> None:
        """Answers a browser that may go on."""
        self.set_status(204)
