"""Removing records with their files, and users with all they have.

The order is: the file is marked, the row goes, COMMIT, the file goes. After a crash in between the
sweep finds the mark, and asks the database whether the file may stay. So there is never a row
without a file.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence

from umusic.errors import CommitUncertain, RecordBusy, RecordUnknown
from umusic.library.audit import Audit
from umusic.library.media import Doomed, Media
from umusic.library.models import Record
from umusic.library.records import Records
from umusic.library.strays import Strays
from umusic.library.users import Users

log = logging.getLogger(__name__)

#: Records that are removed in one transaction; each holds an open file meanwhile.
_BATCH = 50
#: How long to wait for whoever else holds a file, in seconds: in all, and before asking again.
_PATIENCE = 10.0
_PAUSE = 0.05


class Removal:
    """Takes records and users out of the library."""

    def __init__(
        self, users: Users, records: Records, media: Media, audit: Audit, strays: Strays
    ) -> None:
        self._users = users
        self._records = records
        self._media = media
        self._audit = audit
        self._strays = strays

    async def remove_record(self, record: Record) -> None:
        """Removes a record and its file.

        Raises:
            RecordUnknown: it is not there any more.
            RecordBusy: somebody else is removing it, and does not come to an end.
            Unavailable: the media directory cannot be written to, or is away.
            CommitUncertain: the database went away; the row may be gone. The sweep sees to it.
        """
        if not await self._remove(record.user_id, [record.id]):
            raise RecordUnknown

    async def remove_user(self, user_id: uuid.UUID) -> None:
        """Removes a user, all records in the library, and their files, some at a time. If that is
        cut short the user is still there, with what is left, and can be removed again.

        Raises:
            UserUnknown: there is no such user; and what `remove_record` raises.
        """
        await self._users.find(user_id)
        await self._strays.end_all(user_id)
        while True:
            records, _ = await self._records.page(user_id, limit=_BATCH)
            if records:
                await self._remove(user_id, [record.id for record in records])
                continue
            # What an earlier removal left that was cut short: later nobody knows whose it was.
            await self._audit.sweep(user_id)
            if await self._users.remove(user_id):
                # Of what was begun since then.
                await self._strays.clear(user_id)
                return

    async def _remove(self, user_id: uuid.UUID, record_ids: Sequence[uuid.UUID]) -> int:
        """Removes records whose rows have been seen; returns how many still had one."""
        files = self._media.doomed(user_id, record_ids)
        try:
            await self._mark(files)
            removed = await self._records.remove(user_id, record_ids, files.mark_in)
        except (CommitUncertain, asyncio.CancelledError):
            # The rows may be gone, or not: the marks stay, and the sweep will look.
            await files.release()
            raise
        except BaseException:
            await files.unmark()
            raise
        await files.discard()
        return removed

    async def _mark(self, files: Doomed) -> None:
        # Not by asyncio.timeout(), which would leave a thread behind that marks on.
        deadline = time.monotonic() + _PATIENCE
        while not await files.mark():
            if time.monotonic() > deadline:
                raise RecordBusy
            await asyncio.sleep(_PAUSE)
