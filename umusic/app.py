"""The route table, and the services that the handlers get: the composition root."""

import contextlib
import datetime
import functools
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, PathMatches, Rule
from tornado.web import Application

from umusic.audio.ffmpeg import Mp3Settings
from umusic.audio.pool import Pool
from umusic.library.audit import Audit
from umusic.library.database import Database
from umusic.library.idempotency import IdempotencyKeys
from umusic.library.keeper import Keeper
from umusic.library.media import Media
from umusic.library.orders import Limits
from umusic.library.records import Records
from umusic.library.removal import Removal
from umusic.library.resumptions import Resumptions
from umusic.library.stores import Stores
from umusic.library.strays import Strays
from umusic.library.uploads import Uploads
from umusic.library.users import Users
from umusic.library.waveforms import Waveforms
from umusic.metrics import Metrics
from umusic.settings import Settings
from umusic.web.base import BaseHandler
from umusic.web.cors import Cors
from umusic.web.dialects import DOWNLOAD_PATHS, RECORD, REGISTERING, UPLOADING
from umusic.web.docs import OpenApiHandler
from umusic.web.draft import (
    DraftCreationHandler,
    DraftHandler,
    DraftResumableHandler,
    begins,
    speaks,
)
from umusic.web.errors import problem_types
from umusic.web.library import InfoHandler, OwnRecordHandler, RecordsHandler
from umusic.web.lifecycle import Lifecycle
from umusic.web.links import Links
from umusic.web.pages import PageHandler, page_files
from umusic.web.proxies import TrustedProxies
from umusic.web.records import RecordHandler
from umusic.web.system import (
    HealthHandler,
    MethodHandler,
    MetricsHandler,
    NothingHandler,
    ProblemHandler,
    ReadyHandler,
)
from umusic.web.tus import CreationHandler, ResumableHandler
from umusic.web.uploads import UploadHandler
from umusic.web.users import AccountHandler, RegistrationHandler, TokenHandler
from umusic.web.waveforms import PeaksHandler, WaveformHandler

#: The handlers of a path by the methods they are for, each with what it needs.
Targets = dict[tuple[str, ...], tuple[type[BaseHandler], dict[str, Any]]]
_READ = ("GET", "HEAD")
#: `curl -T take.wav …/record/` appends the file's name, whatever it is.
_NAMED = ("/record/info", "/record/peaks", "/record/waveform", "/record/{filename}")
#: What a path may have in place of its parameters; those in brackets are told the handler.
_PARAMETERS = {
    "code": "([a-z0-9-]+)",
    "file": "([A-Za-z0-9_.-]+)",
    "filename": "[^/]+",
    "upload": "([^/]+)",
}


@dataclass(frozen=True, slots=True)
class Library:
    """What is kept, and who looks after it."""

    database: Database
    users: Users
    records: Records
    keys: IdempotencyKeys
    uploads: Uploads
    media: Media
    removal: Removal
    audit: Audit
    stores: Stores


@dataclass(frozen=True, slots=True)
class Services(Library):
    """What runs behind the handlers."""

    keeper: Keeper
    resumptions: Resumptions
    waveforms: Waveforms
    lifecycle: Lifecycle
    metrics: Metrics


@contextlib.asynccontextmanager
async def library(settings: Settings, *, database_url: str) -> AsyncIterator[Library]:
    """Opens the library, and closes it again."""
    database = Database(database_url)
    users, records = Users(database), Records(database)
    stores = Stores(settings, database)
    media = stores.main()
    expiry = datetime.timedelta(seconds=settings.upload_expiry)
    uploads = Uploads(database, expiry, media.site)
    strays = Strays(uploads, records, media)
    audit = Audit(records, media, strays)
    removal = Removal(users, records, media, audit, strays)
    keys = IdempotencyKeys(database)
    try:
        yield Library(database, users, records, keys, uploads, media, removal, audit, stores)
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def services(
    settings: Settings, *, database_url: str, ffmpeg: Path
) -> AsyncIterator[Services]:
    """Makes the services of one process and takes them down again."""
    async with library(settings, database_url=database_url) as opened:
        metrics = Metrics(problem_types())
        keeper = _keeper(settings, opened, Pool(ffmpeg, settings.encoders, metrics=metrics))
        # Few, as uploads have need of the cores; but one that is long must not hold up all others.
        helpers = max(settings.encoders // 2, 2)
        waveforms = Waveforms(opened.media, ffmpeg, helpers, metrics)
        resumptions = Resumptions(
            keeper,
            opened.uploads,
            opened.records,
            opened.media,
            metrics,
            idle=settings.body_timeout,
        )
        lifecycle = Lifecycle()
        running = Services(
            database=opened.database,
            users=opened.users,
            records=opened.records,
            keys=opened.keys,
            uploads=opened.uploads,
            media=opened.media,
            removal=opened.removal,
            audit=opened.audit,
            stores=opened.stores,
            keeper=keeper,
            resumptions=resumptions,
            waveforms=waveforms,
            lifecycle=lifecycle,
            metrics=metrics,
        )
        _watch(running)
        try:
            yield running
        finally:
            await waveforms.abort_all()
            await resumptions.close()
            await keeper.abort_all()
            await lifecycle.settle()


def _keeper(settings: Settings, opened: Library, pool: Pool) -> Keeper:
    return Keeper(
        opened.users,
        opened.records,
        opened.keys,
        opened.uploads,
        opened.media,
        pool,
        Mp3Settings(
            quality=int(settings.mp3_quality.removeprefix("V")), bitrate=settings.mp3_bitrate
        ),
        Limits(
            upload_bytes=settings.max_upload_bytes,
            quota_bytes=settings.user_quota_bytes,
            uploads=settings.max_uploads,
            uploads_per_user=settings.uploads_per_user,
            file_for_others=settings.file_for_others,
        ),
    )


def _watch(running: Services) -> None:
    """Has the metrics show what is known anyway."""
    keeper, lifecycle, database = running.keeper, running.lifecycle, running.database
    resumptions, waveforms = running.resumptions, running.waveforms
    pool, limits = keeper.pool, keeper.limits
    for name, text, read in (
        ("uploads_running", "Uploads that are running.", lambda: keeper.live),
        ("uploads_limit", "Uploads that may run at once.", lambda: limits.uploads),
        ("requests_running", "Requests that have not ended.", lambda: lifecycle.requests),
        ("draining", "1 while umusic is about to stop.", lambda: lifecycle.draining),
        ("encoders_busy", "Encoders that are running.", lambda: pool.busy),
        ("encoders_limit", "Encoders that may run at once.", lambda: pool.size),
        ("encoder_queue", "Segments that wait for a free encoder.", lambda: pool.queue),
        ("database_connections_busy", "Connections in use.", lambda: database.busy),
        ("database_connections_limit", "Connections that there may be.", lambda: database.size),
        ("database_queue", "Requests that wait for a connection.", lambda: database.queue),
        (
            "resumable_uploads_live",
            "Resumable uploads that are in hand here.",
            lambda: resumptions.live,
        ),
        (
            "waveforms_running",
            "Outlines that are being made, or wait for their turn.",
            lambda: waveforms.live,
        ),
    ):
        running.metrics.watch(f"umusic_{name}", text, read)


def make_app(settings: Settings, services: Services) -> Application:
    """The Tornado application over the services."""
    public_url = str(settings.public_url) if settings.public_url else None
    proxies = TrustedProxies(settings.trusted_proxies)
    common = {
        "lifecycle": services.lifecycle,
        "metrics": services.metrics,
        "proxies": proxies,
        "links": Links(public_url, proxies),
        "cors": Cors(settings.cors_origins),
        "body_timeout": settings.body_timeout,
    }
    table = _routes(settings, services)
    rules = list(_draft_rules(settings, services, table, common))
    for path, targets in table.items():
        for methods, (handler, needs) in targets.items():
            rules.append(Rule(_Route(path, methods), handler, {**common, **needs}))
        # What else is asked there, unless the handler says so itself.
        if not handler.METHODS:
            handler, needs = MethodHandler, {"allow": _allow(targets)}
        rules.append(Rule(PathMatches(_pattern(path)), handler, {**common, **needs}))
    return Application(rules, default_handler_class=NothingHandler, default_handler_args=common)


def _routes(settings: Settings, services: Services) -> dict[str, Targets]:
    """The handlers by path (as OpenAPI writes it, without its slash at the end) and methods, each
    with what it needs. The first path that fits counts."""
    owner = {"users": services.users}
    records = {"records": services.records}
    removal = {"removal": services.removal}
    download = {**records, "media": services.media, "x_accel_prefix": settings.x_accel_prefix}
    outline = {**download, "waveforms": services.waveforms}
    upload = {"users": services.users, "keeper": services.keeper}
    resumable = {"keeper": services.keeper, "resumptions": services.resumptions}
    register = {"users": services.users, "is_open": settings.registration == "open"}
    account = {**owner, **removal, "quota": settings.user_quota_bytes}
    docs = {"files": page_files("docs")}
    page = {"files": page_files("page"), "csp": {"media-src": "'self'"}}
    ready = {"database": services.database, "media": services.media}
    table: dict[str, Targets] = {
        "/": {_READ: (PageHandler, page)},
        "/static/{file}": {_READ: (PageHandler, page)},
        "/user": {(*_READ, "DELETE"): (AccountHandler, account)},
        "/user/token": {("POST",): (TokenHandler, owner)},
        "/records": {_READ: (RecordsHandler, {**owner, **records})},
        "/record": {("PATCH", "DELETE"): (OwnRecordHandler, {**owner, **records, **removal})},
        "/record/info": {_READ: (InfoHandler, records)},
        "/record/peaks": {_READ: (PeaksHandler, outline)},
        "/record/waveform": {_READ: (WaveformHandler, outline)},
        "/uploads": {CreationHandler.METHODS: (CreationHandler, {**owner, **resumable})},
        "/uploads/{upload}": {ResumableHandler.METHODS: (ResumableHandler, resumable)},
        "/healthz": {_READ: (HealthHandler, {})},
        "/readyz": {_READ: (ReadyHandler, ready)},
        "/metrics": {_READ: (MetricsHandler, {})},
        "/problems/{code}": {_READ: (ProblemHandler, {})},
        "/openapi.json": {_READ: (OpenApiHandler, {})},
        "/docs": {_READ: (PageHandler, docs)},
        "/docs/{file}": {_READ: (PageHandler, docs)},
    }
    for registering in REGISTERING:
        table.setdefault(registering.path, {})[("POST",)] = (
            RegistrationHandler,
            {**register, "dialect": registering},
        )
    for uploading in UPLOADING:
        table.setdefault(uploading.path, {})["POST", "PUT"] = (
            UploadHandler,
            {**upload, "dialect": uploading},
        )
    for path in DOWNLOAD_PATHS:
        table[path][_READ] = (RecordHandler, download)
    for path in _NAMED:
        table.setdefault(path, {})[("PUT",)] = (UploadHandler, {**upload, "dialect": RECORD})
    return table


def _draft_rules(
    settings: Settings, services: Services, table: dict[str, Targets], common: dict[str, Any]
) -> Iterator[Rule]:
    """Requests that speak draft-ietf-httpbis-resumable-upload, told apart by their headers."""
    if settings.resumable_draft == "off":
        return
    relayed = settings.resumable_draft == "relayed"
    both = {**common, "keeper": services.keeper, "resumptions": services.resumptions}
    create = {**both, "users": services.users, "relayed": relayed}
    is_creation = functools.partial(begins, relayed=relayed)
    for path in ("/record", *_NAMED):
        methods: tuple[str, ...] = ("PUT",) if path in _NAMED else ("POST", "PUT")
        create["allow"] = both["allow"] = _allow(table[path])
        yield Rule(_Route(path, methods, is_creation), DraftCreationHandler, {**create})
        yield Rule(_Route(path, ("OPTIONS",), speaks), DraftHandler, {**both})
    path = "/uploads/{upload}"
    both["allow"] = _allow(table[path])
    methods = ("HEAD", "GET", "PATCH", "DELETE")
    yield Rule(_Route(path, methods, speaks), DraftResumableHandler, both)
    yield Rule(_Route(path, ("OPTIONS",), speaks), DraftHandler, both)


def _allow(targets: Targets) -> str:
    return ", ".join(sorted(itertools.chain(*targets)))


def _pattern(path: str) -> str:
    """The regular expression of a path, with its slash at the end or without."""
    for parameter, pattern in _PARAMETERS.items():
        path = path.replace(f"{{{parameter}}}", pattern)
    return f"{path.rstrip('/')}/?"


class _Route(Matcher):
    """A path by some of its methods, of requests that fit."""

    def __init__(
        self,
        path: str,
        methods: tuple[str, ...],
        fits: Callable[[HTTPServerRequest], bool] = lambda _: True,
    ) -> None:
        self.path = path
        self.methods = methods
        self._fits = fits
        self._matches = PathMatches(_pattern(path))

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """The path's arguments, if path, method and headers are meant."""
        meant = request.method in self.methods and self._fits(request)
        return self._matches.match(request) if meant else None
