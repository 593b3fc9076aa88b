"""Users and their tokens."""

import datetime
import hashlib
import uuid
from collections.abc import Sequence

from sqlalchemy import delete, select, update

from umusic.errors import PairUnknown, TokenUnknown, UserNameTaken, UserUnknown
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
        token = _new_token()
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

    async def renew_token(self, user: User) -> str:
        """Gives the user a new token, in place of the one it was read with, which is dead from
        here on.

        Raises:
            TokenUnknown: that one is dead already, or the user is gone.
        """
        token = _new_token()
        renewal = (
            update(User)
            .where(User.id == user.id, User.token_sha256 == user.token_sha256)
            .values(token_sha256=_token_sha256(token))
            .returning(User.id)
        )
        async with self._database.transaction() as session:
            if await session.scalar(renewal) is None:
                raise TokenUnknown
        return token

    async def remove(self, user_id: uuid.UUID) -> bool:
        """Removes the user. False if there are records yet in the library.

        Raises:
            UserUnknown: there is no such user.
        """
        removal = delete(User).where(User.id == user_id).returning(User.id)
        try:
            async with self._database.transaction() as session:
                removed = await session.scalar(removal)
        except ConstraintBroken as exc:
            if exc.name != "fk_records_user_id_users":
                raise
            return False
        if removed is None:
            raise UserUnknown
        return True

    async def find(self, user_id: uuid.UUID) -> User:
        """The user of this id.

        Raises:
            UserUnknown: there is none.
        """
        async with self._database.reading() as session:
            user = await session.get(User, user_id)
        if user is None:
            raise UserUnknown
        return user

    async def by_name(self, name: str) -> User:
        """The user of this name.

        Raises:
            UserUnknown: there is none.
        """
        async with self._database.reading() as session:
            user = await session.scalar(select(User).where(User.name == user_name(name)))
        if user is None:
            raise UserUnknown
        return user

    async def page(self, after: str, limit: int) -> Sequence[User]:
        """Up to `limit` users in the order of their names, from the first one after `after`."""
        query = select(User).where(User.name > after).order_by(User.name).limit(limit)
        async with self._database.reading() as session:
            return (await session.scalars(query)).all()

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


def _new_token() -> str:
    return str(uuid.uuid4())


def _token_sha256(token: str) -> bytes:
    # A token has 122 random bits, so a plain hash is enough: there is nothing to guess.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
