"""The store of the tests: a directory, or with `--store=s3` a prefix of its own in a bucket of a
real S3 (`tests/ceph`), and what is kept in it, seen past umusic."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import obstore
from botocore.exceptions import ClientError
from obstore.store import LocalStore, S3Store

BUCKET = "umusic-tests"


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

    @property
    def client(self) -> Any:
        return botocore.session.get_session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )

    def make_bucket(self) -> None:
        try:
            self.client.create_bucket(Bucket=BUCKET)
        except ClientError as exc:
            assert exc.response["Error"]["Code"] in (
                "BucketAlreadyExists",
                "BucketAlreadyOwnedByYou",
            )


class Kept:
    """What is kept in one store, by names like `<user>/<record>.mp3`. `settings` are umusic's, so
    that it uses this store; they come beside UMUSIC_MEDIA_DIR."""

    def __init__(self, store: LocalStore | S3Store, settings: dict[str, str]) -> None:
        self._store = store
        self.settings = settings

    @property
    def is_remote(self) -> bool:
        return bool(self.settings)

    def names(self) -> list[str]:
        """All that is there, sorted."""
        return sorted(found["path"] for page in obstore.list(self._store) for found in page)

    def mp3s(self) -> list[str]:
        return [name for name in self.names() if name.endswith(".mp3")]

    def read(self, name: str) -> bytes:
        return bytes(obstore.get(self._store, name).bytes())

    def write(self, name: str, data: bytes) -> None:
        obstore.put(self._store, name, data)

    def remove(self, name: str) -> None:
        obstore.delete(self._store, name)

    def unfinished(self) -> list[str]:
        """The keys of multipart uploads that nobody has completed."""
        if isinstance(self._store, LocalStore):
            return []
        prefix = f"{self._store.prefix}/"
        found = S3.of_environment().client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix)
        return [upload["Key"].removeprefix(prefix) for upload in found.get("Uploads", ())]

    def clear(self) -> None:
        if names := self.names():
            obstore.delete(self._store, names)


def kept_in(media: Path) -> Kept:
    """A media directory."""
    return Kept(LocalStore(media), {})


def kept_in_bucket(s3: S3) -> Iterator[Kept]:
    """A new prefix of the bucket, which is empty again at the end."""
    prefix = f"tests/{uuid.uuid4()}"
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
    kept = Kept(store, settings)
    yield kept
    kept.clear()
