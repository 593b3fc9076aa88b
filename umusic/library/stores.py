"""Which stores there are: that of the settings, and any other by its URL."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from umusic.library.bucket import Bucket
from umusic.library.claims import Claims
from umusic.library.database import Database
from umusic.library.directory import Directory
from umusic.library.disk import Disk
from umusic.library.fallback import Fallback
from umusic.library.media import Media
from umusic.library.objects import Objects
from umusic.library.s3 import S3Access
from umusic.settings import Settings


class Stores:
    """Opens stores, those in S3 as the settings say how it is reached."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._directory = Directory(settings.media_dir)

    def main(self) -> Media:
        """The store that umusic works on."""
        url = self._settings.media_fallback_url
        if url is None:
            return self.first()
        return Fallback(self.first(), self.at(url, known_as="UMUSIC_MEDIA_FALLBACK_URL"))

    def first(self) -> Media:
        """That store without the one to fall back on."""
        url = self._settings.media_url
        return self.at(url) if url else Disk(self._directory)

    def at(
        self, url: str, directory: Directory | None = None, *, known_as: str = "UMUSIC_MEDIA_URL"
    ) -> Media:
        """The store at s3://bucket/prefix or file:///path, or in a directory. What is on its way
        into a bucket is in `directory`; unless told, in the media directory. `known_as` is who has
        named it."""
        parts = urlsplit(url)
        if parts.scheme != "s3":
            path = unquote(parts.path) if parts.scheme == "file" else url
            return Disk(Directory(Path(path), known_as))
        knobs = self._settings
        secret = knobs.s3_secret_key
        access = S3Access(
            knobs.s3_region,
            str(knobs.s3_endpoint).rstrip("/") if knobs.s3_endpoint else None,
            knobs.s3_access_key,
            secret.get_secret_value() if secret else None,
        )
        objects = Objects(url, access)
        # By the URL alone: one S3 may be reached by several endpoints.
        claims = Claims(self._database, objects.url)
        return Bucket(directory or self._directory, objects, claims, known_as)
