"""Which store it is, by its URL."""

from umusic.library.bucket import Bucket
from umusic.library.claims import Claims
from umusic.library.database import Database
from umusic.library.directory import Directory
from umusic.library.disk import Disk
from umusic.library.media import Media
from umusic.library.objects import Objects
from umusic.library.s3 import S3Access
from umusic.settings import Settings


def store(settings: Settings, database: Database, url: str | None) -> Media:
    """The store at `url`, reached as the settings say; without one the media directory itself."""
    directory = Directory(settings.media_dir)
    if url is None:
        return Disk(directory)
    endpoint, secret = settings.s3_endpoint, settings.s3_secret_key
    access = S3Access(
        settings.s3_region,
        str(endpoint).rstrip("/") if endpoint else None,
        settings.s3_access_key,
        secret.get_secret_value() if secret else None,
    )
    objects = Objects(url, access)
    return Bucket(directory, objects, Claims(database, objects.name))
