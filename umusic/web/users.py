"""POST /user: a new user."""

from typing import Any

from pydantic import ValidationError

from umusic.errors import InvalidField, MalformedJson
from umusic.library.users import Users
from umusic.web.base import BaseHandler
from umusic.web.schemas import NewUser, Registration


class UserHandler(BaseHandler):
    """Registers users. The JSON is read whatever Content-Type says: `curl -d` sends a form's."""

    def initialize(self, users: Users, **common: Any) -> None:  # type: ignore[override]
        """Takes what a registration needs, and what every handler does."""
        super().initialize(**common)
        self._users = users

    async def post(self) -> None:
        """Makes the user and tells its token."""
        user, token = await self._users.register(_registration(self.small_body()).name)
        self.set_header("Cache-Control", "no-store")
        self.reply(
            201, NewUser(id=user.id, name=user.name, token=token, created_at=user.created_at)
        )


def _registration(body: bytes) -> Registration:
    try:
        return Registration.model_validate_json(body)
    except ValidationError as exc:
        error = exc.errors()[0]
        if error["type"] in ("json_invalid", "model_type", "model_attributes_type"):
            raise MalformedJson('The body is not a JSON object like {"name": "…"}.') from exc
        field = str(error["loc"][0])
        raise InvalidField(f'The field "{field}" is wrong: {error["msg"]}.', field=field) from exc
