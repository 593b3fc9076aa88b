"""The errors of what a client may say of an upload in headers, and of how many it sends at once.

A branch of the tree of `umusic.errors`, and of the same kind.
"""

from umusic.errors import Conflict, InvalidRequest, UmusicError, Unprocessable


class MalformedHeader(InvalidRequest):
    """A header of the request cannot be read."""

    code = "malformed-header"


class KeyReused(Conflict):
    """This Idempotency-Key has been used for another upload. Send each upload with a key of its
    own, and the same key only to ask for the same upload again."""

    code = "idempotency-key-reused"


class KeyInUse(Conflict):
    """The upload with this Idempotency-Key is still running. Please ask again in a moment."""

    code = "idempotency-key-in-use"


class DigestMismatch(Unprocessable):
    """What arrived does not have the digest that was announced; nothing was kept. Please send it
    again."""

    code = "digest-mismatch"


class TooManyRequests(UmusicError):
    """Too many requests come from your address. Please try again in a little while."""

    code = "too-many-requests"


class TooManyOfOneUser(TooManyRequests):
    """Too many of your uploads are running at once. Please try again in a little while."""

    code = "too-many-of-one-user"
