"""Users and their tokens."""

import datetime
import hashlib
import uuid

from sqlalchemy import select

from umusic.errors import PairUnknown, TokenUnknown, UserNameTaken
from umusic.library.database import ConstraintBroken, Database
from umusic.library.models import User
from umusic.library.names import user_name


class Users:
    """The users in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, name: str) -> tuple[User, str]:
        """Makes a user; returns it with its token, which is told here and never again.

        Raises:
            InvalidField: the name cannot be taken as it is.
            UserNameTaken: somebody has it.
        """
        token = str(uuid.uuid4())
        user = User(
            id=uuid.uuid4(),
            name=user_name(name),
            token_sha256=_token_sha256(token),
            created_at=datetime.datetime.now(datetime.UTC),
        )
        try:
            async with self._database.transaction() as session:
                session.add(user)
        except ConstraintBroken as exc:
            raise UserNameTaken from exc
        return user, token

    async def by_token(self, token: str) -> User:
        """The user whose token this is.

        Raises:
            TokenUnknown: nobody's.
        """
        async with self._database.reading() as session:
            user = await session.scalar(
                select(User).where(User.token_sha256 == _token_sha256(token))
            )
        if user is None:
            raise TokenUnknown
        return user

    async def by_pair(self, user_id: uuid.UUID, token: str) -> User:
        """The user of this id, if the token is theirs.

        Raises:
            PairUnknown: there is no such pair.
        """
        try:
            user = await self.by_token(token)
        except TokenUnknown as exc:
            raise PairUnknown from exc
        if user.id != user_id:
            raise PairUnknown
        return user


def _token_sha256(token: str) -> bytes:
    # A token has 122 random bits, so a plain hash is enough: there is nothing to guess.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
