"""The store of the tests: a directory, or with `--store=s3` a prefix of its own in a bucket of a
real S3 (`tests/ceph`), and what is kept in it, seen past umusic."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import botocore.session
import obstore
from botocore.exceptions import ClientError
from obstore.store import LocalStore, S3Store
from sqlalchemy import text

from umusic.app import Services

BUCKET = "umusic-tests"
_EXPIRE = text("UPDATE claims SET until = now()")


@dataclass(frozen=True)
class S3:
    """A real S3, as the environment names it: TEST_S3_ENDPOINT, _ACCESS_KEY and _SECRET_KEY."""

    endpoint: str
    access_key: str
    secret_key: str

    @classmethod
    def of_environment(cls) -> "S3":
        names = ("TEST_S3_ENDPOINT", "TEST_S3_ACCESS_KEY", "TEST_S3_SECRET_KEY")
        assert all(name in os.environ for name in names), f"--store=s3 needs {', '.join(names)}"
        return cls(*(os.environ[name] for name in names))

    @cached_property
    def client(self) -> Any:
        return botocore.session.get_session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )

    def make_bucket(self) -> None:
        """Makes the bucket of the tests, and the first object and multipart upload in it: for these
        a new Ceph makes pools, which takes seconds."""
        self._create_bucket()
        named = {"Bucket": BUCKET, "Key": f"first/{uuid.uuid4()}"}
        self.client.put_object(**named, Body=b"")
        self.client.delete_object(**named)
        upload = self.client.create_multipart_upload(**named)["UploadId"]
        self.client.abort_multipart_upload(**named, UploadId=upload)

    def _create_bucket(self) -> None:
        try:
            self.client.create_bucket(Bucket=BUCKET)
        except ClientError as exc:
            assert exc.response["Error"]["Code"] in (
                "BucketAlreadyExists",
                "BucketAlreadyOwnedByYou",
            )


def files_in(directory: Path, suffix: str = "") -> list[Path]:
    """The files below it whose names end so. What is removed meanwhile is no trouble, as it is to
    Path.rglob."""
    walk = os.walk(directory)
    return [Path(at, name) for at, _, names in walk for name in names if name.endswith(suffix)]


class Kept:
    """What is kept in one store, by names like `<user>/<record>.mp3`. `settings` are umusic's, so
    that it uses this store; they come beside UMUSIC_MEDIA_DIR, which is `media`."""

    def __init__(
        self, store: LocalStore | S3Store, settings: dict[str, str], media: Path | None = None
    ) -> None:
        self._store = store
        self.media = media
        self.settings = settings

    @property
    def is_remote(self) -> bool:
        return bool(self.settings)

    @property
    def environment(self) -> dict[str, str]:
        """The settings as a process is told them."""
        return {f"UMUSIC_{name.upper()}": value for name, value in self.settings.items()}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all, neither in the store nor on its way there."""
        assert self.media is not None
        local = [path for path in self.media.iterdir() if path.name != ".site"]
        return not (local or self.names() or self.unfinished())

    def names(self) -> list[str]:
        """All that is there, sorted."""
        if isinstance(self._store, LocalStore):
            assert self.media is not None
            return sorted(str(path.relative_to(self.media)) for path in files_in(self.media))
        return sorted(found["path"] for page in obstore.list(self._store) for found in page)

    def mp3s(self) -> list[str]:
        return [name for name in self.names() if name.endswith(".mp3")]

    def read(self, name: str) -> bytes:
        return bytes(obstore.get(self._store, name).bytes())

    def write(self, name: str, data: bytes) -> None:
        obstore.put(self._store, name, data)

    def copy(self, name: str, to: str) -> None:
        obstore.copy(self._store, name, to)

    def remove(self, name: str) -> None:
        obstore.delete(self._store, name)
        if self.media is not None and not self.is_remote:
            with contextlib.suppress(OSError):
                (self.media / name).parent.rmdir()

    def abandon(self, user_id: object) -> uuid.UUID:
        """Leaves what a crash leaves in the middle of publishing: half of a record's MP3."""
        record_id = uuid.uuid4()
        if isinstance(self._store, LocalStore):
            self.write(f"{user_id}/.{record_id}.part", b"half an MP3")
        else:
            S3.of_environment().client.create_multipart_upload(
                Bucket=BUCKET, Key=f"{self._store.prefix}/{user_id}/{record_id}.mp3"
            )
        return record_id

    def unfinished(self) -> list[str]:
        """The names of what is about to be published, or was when somebody died."""
        if isinstance(self._store, LocalStore):
            return [name for name in self.names() if name.endswith(".part")]
        return [name for name, _ in self._multiparts()]

    def clear(self) -> None:
        if names := self.names():
            obstore.delete(self._store, names)
        for name, upload in self._multiparts():
            S3.of_environment().client.abort_multipart_upload(
                Bucket=BUCKET, Key=f"{self._store.prefix}/{name}", UploadId=upload
            )

    def _multiparts(self) -> list[tuple[str, str]]:
        if isinstance(self._store, LocalStore):
            return []
        prefix = f"{self._store.prefix}/"
        found = S3.of_environment().client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix)
        return [
            (upload["Key"].removeprefix(prefix), upload["UploadId"])
            for upload in found.get("Uploads", ())
        ]


def kept_in(media: Path) -> Kept:
    """A media directory."""
    return Kept(LocalStore(media), {}, media)


def kept_in_bucket(s3: S3) -> Iterator[Kept]:
    """A new prefix of the bucket, which is empty again at the end."""
    kept = _kept_below(s3, f"tests/{uuid.uuid4()}")
    yield kept
    kept.clear()


class _Shelves:
    """The store of this session, and where in it its umusics keep what is theirs."""

    def __init__(self) -> None:
        self.s3: S3 | None = None
        self.prefix = f"tests/{uuid.uuid4()}"


_shelves = _Shelves()


@contextlib.contextmanager
def session_in(s3: S3 | None) -> Iterator[None]:
    """Has `kept_beside` take this store, and empties it at the end."""
    _shelves.s3 = s3
    yield
    _shelves.s3 = None
    if s3 is not None:
        _kept_below(s3, _shelves.prefix).clear()


def kept_beside(media: Path) -> Kept:
    """What a umusic with this UMUSIC_MEDIA_DIR keeps, in the store of the session."""
    if _shelves.s3 is None:
        return kept_in(media)
    name = uuid.uuid5(uuid.NAMESPACE_URL, str(media))
    return _kept_below(_shelves.s3, f"{_shelves.prefix}/{name}", media)


def _kept_below(s3: S3, prefix: str, media: Path | None = None) -> Kept:
    config: Any = {
        "endpoint": s3.endpoint,
        "region": "us-east-1",
        "access_key_id": s3.access_key,
        "secret_access_key": s3.secret_key,
    }
    store = S3Store(BUCKET, prefix=prefix, config=config, client_options={"allow_http": True})
    settings = {
        "media_url": f"s3://{BUCKET}/{prefix}",
        "s3_endpoint": s3.endpoint,
        "s3_access_key": s3.access_key,
        "s3_secret_key": s3.secret_key,
    }
    return Kept(store, settings, media)


async def lapse(services: Services) -> None:
    """Lets the leases run out of those who are dead; locks on files are gone with them."""
    async with services.database.transaction() as session:
        await session.execute(_EXPIRE)


async def leave_marked(services: Services, user_id: uuid.UUID, record_id: uuid.UUID) -> None:
    """Leaves a published file marked, as somebody does who dies over it."""
    doomed = services.media.doomed(user_id, [record_id])
    assert await doomed.mark()
    async with services.database.transaction() as session:
        await doomed.mark_in(session, [record_id])
    await doomed.release()
    await lapse(services)
