"""What is for the owner of a library alone."""

from typing import Any

from umusic.errors import TokenMissing
from umusic.library.models import User
from umusic.library.users import Users
from umusic.web.base import BaseHandler


class OwnerHandler(BaseHandler):
    """A handler that wants a Bearer token; `user` is whose it is."""

    user: User

    def initialize(self, users: Users, **common: Any) -> None:  # type: ignore[override]
        """Takes who can tell whose a token is, and what every handler does."""
        super().initialize(**common)
        self.users = users

    async def admit(self) -> None:
        bearer = self.bearer()
        if bearer is None:
            raise TokenMissing("A token is needed: send Authorization: Bearer TOKEN.")
        self.user = await self.users.by_token(bearer)
        self.set_header("Cache-Control", "no-store")
