"""The route table, and the services that the handlers get: the composition root."""

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, PathMatches, Rule
from tornado.web import Application, RequestHandler

from umusic.audio.ffmpeg import Mp3Settings
from umusic.library.database import Database
from umusic.library.keeper import Keeper
from umusic.library.media import Media
from umusic.library.records import Records
from umusic.library.users import Users
from umusic.settings import Settings
from umusic.web.base import BaseHandler
from umusic.web.lifecycle import Lifecycle
from umusic.web.links import Links
from umusic.web.records import RecordHandler
from umusic.web.system import (
    HealthHandler,
    MethodHandler,
    NothingHandler,
    ProblemHandler,
    ReadyHandler,
)
from umusic.web.uploads import UploadHandler
from umusic.web.users import UserHandler

log = logging.getLogger("umusic.access")


@dataclass(frozen=True, slots=True)
class Services:
    """What runs behind the handlers."""

    database: Database
    users: Users
    records: Records
    media: Media
    keeper: Keeper
    lifecycle: Lifecycle


@contextlib.asynccontextmanager
async def services(
    settings: Settings, *, database_url: str, ffmpeg: Path
) -> AsyncIterator[Services]:
    """Makes the services of one process and takes them down again."""
    database = Database(database_url)
    records = Records(database)
    media = Media(settings.media_dir)
    keeper = Keeper(
        records,
        media,
        ffmpeg,
        Mp3Settings(
            quality=int(settings.mp3_quality.removeprefix("V")), bitrate=settings.mp3_bitrate
        ),
        max_bytes=settings.max_upload_bytes,
        max_uploads=settings.max_uploads,
    )
    lifecycle = Lifecycle()
    try:
        yield Services(database, Users(database), records, media, keeper, lifecycle)
    finally:
        await keeper.abort_all()
        await lifecycle.settle()
        await database.close()


def make_app(settings: Settings, services: Services) -> Application:
    """The Tornado application over the services."""
    public_url = str(settings.public_url) if settings.public_url else None
    common = {
        "lifecycle": services.lifecycle,
        "links": Links(public_url, settings.trusted_proxies),
        "body_timeout": settings.body_timeout,
    }
    upload = {
        "users": services.users,
        "keeper": services.keeper,
    }
    download = {
        "records": services.records,
        "media": services.media,
        "x_accel_prefix": settings.x_accel_prefix,
    }
    table: list[tuple[str, dict[str, tuple[type[BaseHandler], dict[str, Any]]]]] = [
        (r"/user/?", {"POST": (UserHandler, {"users": services.users})}),
        (
            r"/record/?",
            {"GET, HEAD": (RecordHandler, download), "POST, PUT": (UploadHandler, upload)},
        ),
        # `curl -T take.wav …/record/` appends the file's name.
        (r"/record/[^/]+", {"PUT": (UploadHandler, upload)}),
        (r"/healthz/?", {"GET, HEAD": (HealthHandler, {})}),
        (
            r"/readyz/?",
            {"GET, HEAD": (ReadyHandler, {"database": services.database, "media": services.media})},
        ),
        (r"/problems/([a-z-]+)/?", {"GET": (ProblemHandler, {})}),
    ]
    rules: list[Rule] = []
    for path, targets in table:
        for methods, (handler, needs) in targets.items():
            rules.append(Rule(_Route(path, methods), handler, {**common, **needs}))
        rules.append(
            Rule(PathMatches(path), MethodHandler, {**common, "allow": ", ".join(targets)})
        )
    return Application(
        rules,
        default_handler_class=NothingHandler,
        default_handler_args=common,
        log_function=_log_request,
    )


class _Route(Matcher):
    """A path by some of its methods."""

    def __init__(self, path: str, methods: str) -> None:
        self._path = PathMatches(path)
        self._methods = methods.split(", ")

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """The path's arguments, if path and method are meant."""
        return self._path.match(request) if request.method in self._methods else None


def _log_request(handler: RequestHandler) -> None:
    # The path alone: the query string holds links and tokens.
    log.info(
        "%s %s %d %.1f ms",
        handler.request.method,
        handler.request.path,
        handler.get_status(),
        1000 * handler.request.request_time(),
    )
