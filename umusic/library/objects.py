"""Objects below a prefix of an S3 bucket: what umusic asks of it, and its errors as ours.

The bytes go by obstore. What it cannot do is in `multiparts`.
"""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from umusic.errors import MediaAway
from umusic.library.s3 import S3Access, StoreFault

if TYPE_CHECKING:
    from umusic.library.multiparts import Multiparts

T = TypeVar("T")

#: Bytes of a part of a multipart upload, parts of one that are under way at once, and uploads that
#: are: the memory that publishing takes is their product. S3 has parts of 5 MiB or more, and 10,000
#: at most.
_PART_BYTES = 8 * 2**20
_PARTS = 2
_PUTS = 4
#: Objects that are listed at once.
_PAGE = 1000
#: Requests of other kinds under way at once, and threads that ask for multipart uploads.
_REQUESTS = 32
_THREADS = 8
#: Bytes that are read at once, and read ahead. A sender that waits is told nothing meanwhile, and a
#: store does not keep a slow reader's connection for ever.
_READ_BYTES = 2**20
#: How long a presigned URL may be used: to begin with what it names.
_SIGNED = datetime.timedelta(minutes=5)
#: A gateway that restarts is waited for, and one that says nothing is given up so soon that there
#: is time to ask once more. To send a part counts towards the time that its answer may take: at
#: 0.6 MB/s all that are under way are through in two minutes.
_CLIENT: Any = {"connect_timeout": "3s", "read_timeout": "15s", "timeout": "1h"}
_SENDING = {"read_timeout": "120s"}
_RETRIES: Any = {
    "max_retries": 12,
    "retry_timeout": datetime.timedelta(seconds=20),
    "backoff": {
        "init_backoff": datetime.timedelta(milliseconds=100),
        "max_backoff": datetime.timedelta(seconds=2),
        "base": 2,
    },
}


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """An object that is there: its key below the prefix, its size in bytes, and when it came."""

    key: str
    size: int
    modified: datetime.datetime


class Objects:
    """The objects at `s3://bucket/prefix`. Keys are relative to the prefix.

    All methods raise MediaAway if the store does not do what it is asked.
    """

    def __init__(self, url: str, access: S3Access) -> None:
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self._bucket = parts.netloc
        prefix = parts.path.strip("/")
        self._below = f"{prefix}/" if prefix else ""
        config: Any = {"region": access.region}
        if access.endpoint is not None:
            config["endpoint"] = access.endpoint
        if access.access_key is not None:
            config["access_key_id"] = access.access_key
            config["secret_access_key"] = access.secret_key

        def opened(**times: str) -> S3Store:
            plain = (access.endpoint or "").startswith("http://")
            client: Any = {**_CLIENT, **times, "allow_http": plain}
            return S3Store(
                self._bucket,
                prefix=prefix or None,
                config=config,
                client_options=client,
                retry_config=_RETRIES,
            )

        self._store = opened()
        self._sending = opened(**_SENDING)
        self._access = access
        self._uploads: Multiparts | None = None
        #: Of its own: if S3 does not answer, nobody else's work waits behind what asks it.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="multiparts")
        self._puts = asyncio.Semaphore(_PUTS)
        self._requests = asyncio.Semaphore(_REQUESTS)

    async def put(self, key: str, data: Path | bytes, media_type: str) -> None:
        """Makes an object, whole or not at all; in several parts if it is large."""
        async with self._puts:
            with _asking():
                await obstore.put_async(
                    self._sending,
                    key,
                    data,
                    attributes={"Content-Type": media_type},
                    chunk_size=_PART_BYTES,
                    max_concurrency=_PARTS,
                )

    async def head(self, key: str) -> ObjectMeta | None:
        """Looks at an object; None if there is none."""
        async with self._requests:
            try:
                with _asking():
                    return _meta(await obstore.head_async(self._store, key))
            except FileNotFoundError:
                return None

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of an object from `start` to before `end`, in pieces. Raises FileNotFoundError
        if there is no such object."""

        def fetch(at: int) -> "asyncio.Future[bytes]":
            return asyncio.ensure_future(self._range(key, at, min(at + _READ_BYTES, end)))

        ahead = fetch(start) if start < end else None
        try:
            while ahead is not None:
                data = await ahead
                start += len(data)
                ahead = fetch(start) if start < end else None
                yield data
        finally:
            if ahead is not None:
                ahead.cancel()

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectMeta]:
        """All objects, or those of a directory."""
        async for page in self.pages(prefix):
            for found in page:
                yield found

    async def pages(self, prefix: str = "") -> AsyncIterator[Sequence[ObjectMeta]]:
        """The same, page by page."""
        with _asking():
            async for page in obstore.list(self._store, prefix or None, chunk_size=_PAGE):
                yield [_meta(found) for found in page]

    async def delete(self, *keys: str) -> None:
        """Removes objects. That one is not there is no trouble."""
        async with self._requests:
            with _asking(), contextlib.suppress(FileNotFoundError):
                await obstore.delete_async(self._store, list(keys))

    async def move(self, key: str, to: str) -> None:
        """Gives an object another key, which no other may have. Raises FileNotFoundError."""
        async with self._requests:
            with _asking():
                await obstore.copy_async(self._store, key, to)
                await obstore.delete_async(self._store, key)

    async def signed_url(self, key: str) -> str:
        """A URL for GET that needs no credentials, for a few minutes."""
        with _asking():
            return str(await obstore.sign_async(self._store, "GET", key, _SIGNED))

    async def unfinished(self, prefix: str = "") -> AsyncIterator[tuple[str, str]]:
        """The multipart uploads that are under way, or that nobody will complete: key and id."""
        multiparts = await self._on_thread(self._multiparts)
        pages = multiparts.pages(self._below + prefix)
        while page := await self._on_thread(next, pages, None):
            for key, upload in page:
                yield key.removeprefix(self._below), upload

    async def abort(self, key: str, upload: str) -> None:
        """Removes what has come of a multipart upload. That it is gone is no trouble."""
        multiparts = await self._on_thread(self._multiparts)
        await self._on_thread(multiparts.abort, self._below + key, upload)

    async def _range(self, key: str, start: int, end: int) -> bytes:
        async with self._requests:
            with _asking():
                found = await obstore.get_range_async(self._store, key, start=start, end=end)
        if not found:
            raise MediaAway from EOFError(f"an object ends at {start}")
        return bytes(found)

    async def _on_thread(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _multiparts(self) -> "Multiparts":
        if self._uploads is None:
            # Only now: it takes half a second and 20 MB, which nobody should pay without a bucket.
            from umusic.library.multiparts import Multiparts  # noqa: PLC0415

            self._uploads = Multiparts(self._bucket, self._access)
        return self._uploads


@contextlib.contextmanager
def _asking() -> Iterator[None]:
    """Turns what obstore says into MediaAway; that there is nothing stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError as exc:
        # Of a bucket it is said in the same way.
        if "NoSuchBucket" in str(exc):
            raise MediaAway from StoreFault(exc)
        raise
    except (BaseError, OSError) as exc:
        raise MediaAway from StoreFault(exc)


def _meta(found: Any) -> ObjectMeta:
    return ObjectMeta(found["path"], found["size"], found["last_modified"])
