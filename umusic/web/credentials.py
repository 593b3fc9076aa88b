"""Who sends a request, and whose library it is about."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from umusic.errors import InvalidField, PairUnknown, TokenMissing
from umusic.library.models import User
from umusic.library.users import Users
from umusic.web.dialects import PAIRS
from umusic.web.schemas import parse

_DATA = "data"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says of its sender: a Bearer token, or a user's id and token.

    With a Bearer token `user_id` may be another user's: in whose library an upload is filed.
    """

    bearer: str | None
    user_id: str | None
    token: str | None

    @property
    def complete(self) -> bool:
        """Whether they tell who sends."""
        return self.bearer is not None or None not in (self.user_id, self.token)

    @property
    def told(self) -> bool:
        """Whether there are any, be they complete or not."""
        return (self.bearer, self.user_id, self.token) != (None, None, None)

    async def authenticate(self, users: Users) -> tuple[User, uuid.UUID]:
        """Who sends the request, and in whose library it is to be filed.

        Raises:
            TokenMissing: there are no credentials; TokenUnknown, PairUnknown: wrong ones.
            InvalidField: user_id is missing beside a token, or is no UUID beside Bearer.
        """
        if self.bearer is not None:
            user = await users.by_token(self.bearer)
            owner = user.id if self.user_id is None else uuid_field("user_id", self.user_id)
            return user, owner
        if self.user_id is None and self.token is None:
            raise TokenMissing
        if self.token is None:
            raise TokenMissing("The token is missing: send it with user_id, or as a Bearer token.")
        if self.user_id is None:
            raise InvalidField("user_id is missing: send it with the token.", field="user_id")
        try:
            user = await users.by_pair(uuid.UUID(self.user_id), self.token)
        except ValueError as exc:
            raise PairUnknown from exc
        return user, user.id


def credentials_of(
    bearer: str | None, query: Callable[[str], str | None], form: Mapping[str, str]
) -> Credentials:
    """The credentials of an upload: the Bearer token, and of id and token the first of each in
    the places of `dialects.PAIRS`. `query` tells a parameter of the query.

    Raises:
        InvalidField: one of these is not UTF-8.
        MalformedJson: the form field `data` is needed, and is no JSON object.
    """
    told = {name: query(name) for pair in PAIRS for name in (pair.user_id, pair.token)}
    asked = {name: value for name, value in told.items() if value is not None}
    # A form may have a field of this name that means something else.
    needs_data = bearer is None and "token" not in {**asked, **form} and _DATA in form
    places = {"query": asked, "form": form, _DATA: _json(form[_DATA]) if needs_data else {}}
    user_ids = [places[pair.place].get(pair.user_id) for pair in PAIRS]
    tokens = [places[pair.place].get(pair.token) for pair in PAIRS]
    return Credentials(
        bearer,
        next((user_id for user_id in user_ids if user_id is not None), None),
        next((token for token in tokens if token is not None), None),
    )


def _json(text: str) -> dict[str, str]:
    members = parse(
        dict[str, object],
        text,
        what="The form field data",
        like='{"user_id": "…", "access_token": "…"}',
    )
    return {name: value for name, value in members.items() if isinstance(value, str)}


def uuid_field(name: str, text: str) -> uuid.UUID:
    """A UUID that a client sent.

    Raises:
        InvalidField: it is none.
    """
    try:
        return uuid.UUID(text)
    except ValueError as exc:
        raise InvalidField(f"{name} is not a UUID.", field=name) from exc
