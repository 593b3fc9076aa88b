"""Requests about uploads that come in several, by whichever protocol: turns, bytes, and receipts.

What the protocols say in headers is theirs: `tus` and `draft`.
"""

import asyncio
import uuid
from typing import Any

from umusic.library.keeper import Keeper
from umusic.library.models import Record
from umusic.library.progress import Progress
from umusic.library.resumption import Resumption
from umusic.library.resumptions import Resumptions
from umusic.library.turns import Checksum, Turn
from umusic.resumable_errors import LengthExceeded, ResumptionUnknown
from umusic.web.base import BaseHandler
from umusic.web.dialects import RECORD
from umusic.web.errors import Problem
from umusic.web.schemas import Metadata, UploadState


class AppendingHandler(BaseHandler):
    """A request that appends to an upload, or may."""

    _turn: Turn | None = None
    _resumption: Resumption | None = None
    _finished_turn = False

    def initialize(  # type: ignore[override]
        self, keeper: Keeper, resumptions: Resumptions, **common: Any
    ) -> None:
        """Takes what an upload needs, and what every handler does."""
        super().initialize(**common)
        self.keeper = keeper
        self.resumptions = resumptions

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    def upload_id(self) -> uuid.UUID:
        """The upload in the path. Raises ResumptionUnknown."""
        try:
            return uuid.UUID(self.path_args[0])
        except ValueError as exc:
            raise ResumptionUnknown from exc

    async def begin_turn(
        self, upload_id: uuid.UUID, offset: int, *, length: int | None, check: Checksum | None
    ) -> Record | None:
        """Takes the turn. If the upload has become a record before, it is returned."""
        begun = await self.resumptions.begin_turn(
            upload_id, offset, length=length, check=check, on_cut=self._cut_off
        )
        if isinstance(begun, Record):
            return begun
        self._resumption, self._turn = begun
        end = offset + (self.framing.length or 0)
        if self._resumption.length is not None and end > self._resumption.length:
            raise LengthExceeded(limit=self._resumption.length)
        self.keeper.check_size(end)
        return None

    async def receive(self, data: bytes) -> None:
        if self._turn is None:
            raise LengthExceeded
        await self._turn.write(data)

    async def end_turn(self, *, last: bool = False) -> Record | None:
        """Ends the turn; the record, if that was the last one. With `last` it has to be."""
        assert self._turn is not None and self._resumption is not None
        await self._turn.finish(last=last)
        self._finished_turn = True
        if not self._resumption.is_whole:
            return None
        return await asyncio.shield(self._resumption.outcome)

    async def clean_up(self) -> None:
        if self._turn is not None and not self._finished_turn:
            await self._turn.abort()

    def receipt_of(self, record: Record) -> dict[str, object]:
        """What POST /record answers with."""
        link = self.link_of(record)
        receipt = Metadata.of(record, link).model_dump(mode="json")
        return {**receipt, **dict.fromkeys(RECORD.link_members or (), link)}

    def state_of(self, progress: Progress) -> UploadState:
        """How far an upload is, and what has come of it."""
        row, record, end = progress.row, progress.record, progress.end
        link = self.link_of(record) if record else None
        if end:
            state = "failed"
        elif record:
            state = "done"
        else:
            state = "encoding" if progress.is_whole else "uploading"
        return UploadState.model_validate(
            {
                "state": state,
                "offset": progress.offset,
                "length": row.length,
                "name": row.name,
                "created_at": row.created_at,
                "expires_at": row.expires_at,
                "link": link,
                "record": Metadata.of(record, link) if record and link else None,
                "problem": Problem(end).members() if end else None,
            }
        )

    def _cut_off(self, error: Exception) -> None:
        self.lifecycle.spawn(self.refuse(error))
