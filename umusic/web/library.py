"""/records, /record/info, PATCH and DELETE /record: seeing and changing what a library holds."""

import re
from typing import Any
from urllib.parse import urlencode

from umusic.errors import Forbidden, InvalidField
from umusic.library.names import record_name, search_text
from umusic.library.records import Records
from umusic.library.removal import Removal
from umusic.web.base import BaseHandler
from umusic.web.cursors import cursor_of, position_of
from umusic.web.links import record_named
from umusic.web.owner import OwnerHandler
from umusic.web.schemas import Metadata, Page, PublicMetadata, Renaming, parse

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000


class RecordsHandler(OwnerHandler):
    """GET /records: one's own records, newest first, a page at a time."""

    def initialize(self, records: Records, **common: Any) -> None:  # type: ignore[override]
        """Takes what a list needs, and what every owner's handler does."""
        super().initialize(**common)
        self._records = records

    async def get(self) -> None:
        """Tells a page, and where the next one begins."""
        limit, text, cursor = self._limit(), search_text(self.query("q")), self.query("cursor")
        found, position = await self._records.page(
            self.user.id, limit=limit, after=position_of(cursor) if cursor else None, text=text
        )
        following = cursor_of(position) if position else None
        if following:
            parameters = {"limit": str(limit), "cursor": following, **({"q": text} if text else {})}
            link = self.links.to(self.request, f"/records?{urlencode(parameters)}")
            self.set_header("Link", f'<{link}>; rel="next"')
        items = [Metadata.of(record, self.link_of(record)) for record in found]
        self.reply(200, Page(items=items, next=following))

    head = get

    def _limit(self) -> int:
        text = self.query("limit")
        if text is None:
            return DEFAULT_LIMIT
        limit = int(text) if re.fullmatch("[0-9]{1,4}", text) else 0
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidField(f"limit is a number from 1 to {MAX_LIMIT}.", field="limit")
        return limit


class InfoHandler(BaseHandler):
    """GET /record/info: what is known of a record. As public as its link is."""

    def initialize(self, records: Records, **common: Any) -> None:  # type: ignore[override]
        """Takes what it needs, and what every handler does."""
        super().initialize(**common)
        self._records = records

    async def get(self) -> None:
        """Tells the metadata."""
        record = await self._records.find(*record_named(self.query))
        self.set_header("Cache-Control", "private, no-cache")
        self.reply(200, PublicMetadata.of(record, self.link_of(record)))

    head = get


class OwnRecordHandler(OwnerHandler):
    """PATCH and DELETE /record: only the owner of the library may, not who uploaded into it."""

    def initialize(  # type: ignore[override]
        self, records: Records, removal: Removal, **common: Any
    ) -> None:
        """Takes what a change needs, and what every owner's handler does."""
        super().initialize(**common)
        self._records = records
        self._removal = removal

    async def admit(self) -> None:
        await super().admit()
        self._record = await self._records.find(*record_named(self.query))
        if self._record.user_id != self.user.id:
            raise Forbidden("This record is in another user's library.")

    async def patch(self) -> None:
        """Renames the record and tells its metadata."""
        renaming = parse(Renaming, self.small_body(), what="The body", like='{"name": "…"}')
        name = record_name(renaming.name)
        if name is None and renaming.name is not None:
            raise InvalidField(
                "Nothing is left of this name. null takes a name away.", field="name"
            )
        record = await self._records.rename(self._record.id, self.user.id, name)
        self.reply(200, Metadata.of(record, self.link_of(record)))

    async def delete(self) -> None:
        """Removes the record and its file."""
        await self._removal.remove_record(self._record)
        self.set_status(204)
