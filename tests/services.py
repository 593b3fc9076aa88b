"""What the tests of the older services have in common."""

import uuid
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import soundfile

from tests.senders import Request, Send

MISSING = "00000000-0000-4000-8000-000000000000"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def is_uuid4(text: str) -> bool:
    return str(uuid.UUID(text)) == text and uuid.UUID(text).version == 4


async def assert_is_mp3_of(send: Send, link: str, wav: Path, *, user: str) -> None:
    """Follows the link as it stands: it gives an MP3 as long as the WAV, of this user."""
    parts = urlsplit(link)
    assert parts.path == "/record"
    assert list(parse_qs(parts.query)) == ["id", "user"]
    assert parse_qs(parts.query)["user"] == [user]
    reply = await send(Request("GET", link))
    assert reply.status == 200
    assert reply.headers["content-type"] == "audio/mpeg"
    record = parse_qs(parts.query)["id"][0]
    assert reply.headers["content-disposition"] == f'attachment; filename="{record}.mp3"'
    assert soundfile.info(BytesIO(reply.body)).format == "MP3"
    assert soundfile.info(BytesIO(reply.body)).frames == soundfile.info(wav).frames
