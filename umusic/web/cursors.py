"""The cursor of a page: a position in a library as one opaque word for a URL."""

import base64
import binascii
import datetime
import struct
import uuid

from umusic.errors import InvalidField
from umusic.library.records import Position

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
#: Microseconds since the epoch and the record's id: 24 bytes, 32 letters of base64url.
_PACKED = struct.Struct(">q16s")


def cursor_of(position: Position) -> str:
    """The cursor of a position."""
    microseconds = (position.created_at - _EPOCH) // _MICROSECOND
    packed = _PACKED.pack(microseconds, position.record_id.bytes)
    return base64.urlsafe_b64encode(packed).decode()


def position_of(cursor: str) -> Position:
    """The position of a cursor.

    Raises:
        InvalidField: it is none of ours.
    """
    try:
        packed = base64.b64decode(cursor, altchars=b"-_", validate=True)
        microseconds, record_id = _PACKED.unpack(packed)
        created_at = _EPOCH + microseconds * _MICROSECOND
    except (ValueError, OverflowError, binascii.Error, struct.error) as exc:
        raise InvalidField(
            "This cursor is not one that GET /records gave as next.", field="cursor"
        ) from exc
    return Position(created_at, uuid.UUID(bytes=record_id))
