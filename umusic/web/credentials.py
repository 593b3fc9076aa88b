"""Who sends a request, by its Bearer token or by user_id and token."""

import uuid

from umusic.errors import Forbidden, InvalidField, TokenMissing
from umusic.library.models import User
from umusic.library.users import Users


def uuid_field(name: str, text: str | None) -> uuid.UUID:
    """A UUID that a client sent.

    Raises:
        InvalidField: it is missing or none.
    """
    try:
        return uuid.UUID(text or "")
    except ValueError as exc:
        raise InvalidField(f"{name} is missing or not a UUID.", field=name) from exc


async def authenticate(
    users: Users, *, bearer: str | None, user_id: str | None, token: str | None
) -> User:
    """Who sends a request: the user of the Bearer token, or else of the pair user_id and token.

    Raises:
        TokenMissing: there are no credentials; TokenUnknown, PairUnknown: wrong ones.
        Forbidden: the Bearer token is not that of `user_id`.
    """
    if bearer is not None:
        user = await users.by_token(bearer)
        if user_id is not None and uuid_field("user_id", user_id) != user.id:
            raise Forbidden("The token is not that of user_id.")
        return user
    if user_id is None and token is None:
        raise TokenMissing
    if token is None:
        raise TokenMissing("The token is missing: send it with user_id, or as a Bearer token.")
    return await users.by_pair(uuid_field("user_id", user_id), token)
