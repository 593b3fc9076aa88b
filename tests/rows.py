"""Records made in bulk: rows without files, by SQL."""

import uuid

from sqlalchemy import text

from umusic.library.database import Database

_INSERT = text(
    """
    INSERT INTO records (
        id, user_id, uploader_id, name, created_at, duration, sample_rate, channels, bitrate,
        samples, size, sha256, source_format, source_sample_rate, source_channels, source_samples,
        source_size, source_sha256
    )
    SELECT gen_random_uuid(), :user, :user, 'take ' || n || '.wav',
        timestamptz '2026-01-01' + n / 10 * interval '1 second', 1, 44100, 2, 128000,
        44100, 16000, sha256('x'), 's16le', 44100, 2, 44100, 176444, sha256('y')
    FROM generate_series(1, :count) AS n
    """
)


async def add_rows(database: Database, user_id: str, count: int) -> None:
    """Adds `take 1.wav` to `take COUNT.wav`, ten of them in each second."""
    async with database.transaction() as session:
        await session.execute(_INSERT, {"user": uuid.UUID(user_id), "count": count})
    async with database.reading() as session:
        await session.execute(text("VACUUM ANALYZE records"))
