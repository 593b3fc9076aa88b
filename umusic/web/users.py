"""/user, /users and /user/token: registering, and one's own account."""

from typing import Any

from umusic.errors import RegistrationClosed, UmusicError, UserNameTaken
from umusic.library.removal import Removal
from umusic.library.users import Users
from umusic.web.base import BaseHandler
from umusic.web.dialects import Registering
from umusic.web.owner import OwnerHandler
from umusic.web.schemas import Account, NewToken, Registration, parse


class RegistrationHandler(BaseHandler):
    """Registers users. The JSON is read whatever Content-Type says: `curl -d` sends a form's."""

    def initialize(  # type: ignore[override]
        self, users: Users, is_open: bool, dialect: Registering, **common: Any
    ) -> None:
        """Takes what a registration needs, and what every handler does."""
        super().initialize(**common)
        self._users = users
        self._open = is_open
        self._dialect = dialect

    async def admit(self) -> None:
        if not self._open:
            raise RegistrationClosed

    async def post(self) -> None:
        """Makes the user and tells its token."""
        body = self.small_body()
        registration = parse(Registration, body, what="The body", like='{"name": "…"}')
        user, token = await self._users.register(registration.name)
        self.set_header("Cache-Control", "no-store")
        self.reply(201, NewToken.of(user, token))

    def write_problem(self, error: UmusicError) -> None:
        if isinstance(error, UserNameTaken) and self._dialect.name_taken is not None:
            self.reply(200, self._dialect.name_taken)
        else:
            super().write_problem(error)


class AccountHandler(OwnerHandler):
    """GET and DELETE /user: one's own account."""

    def initialize(  # type: ignore[override]
        self, removal: Removal, quota: int | None, **common: Any
    ) -> None:
        """Takes what an account needs, and what every owner's handler does."""
        super().initialize(**common)
        self._removal = removal
        self._quota = quota

    def get(self) -> None:
        """Tells who it is, and how much is in the library."""
        self.reply(200, Account.of(self.user, self._quota))

    head = get

    async def delete(self) -> None:
        """Removes the user, all records and their files."""
        await self._removal.remove_user(self.user.id)
        self.set_status(204)


class TokenHandler(OwnerHandler):
    """POST /user/token: a new token in place of the one that asks for it."""

    async def post(self) -> None:
        """Tells the new token; the old one is dead."""
        self.reply(200, NewToken.of(self.user, await self.users.renew_token(self.user)))
