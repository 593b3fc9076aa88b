"""Requests that need not be heard out: their senders ask how far they came, and go on there."""

from umusic.errors import Unavailable
from umusic.resumable_errors import ResumptionLocked, ResumptionStalled, WrongOffset
from umusic.web.base import BaseHandler

#: After these one asks, and goes on.
_PASSING = (WrongOffset, ResumptionLocked, Unavailable)
#: With so many bytes still to come; nginx goes by as many (nginx/umusic.conf.template).
_MUCH = 1_000_000
_CURT_SECONDS = 0.2


class CurtHandler(BaseHandler):
    """Does not listen for long to those whom it has refused for what passes.

    Browsers read no answer before they have sent all, or are broken off: they would go on sending
    what nobody keeps. An answer that is lost costs nothing here.
    """

    #: Who sleeps for a while goes on afterwards; 408 makes tus-js-client give up for good.
    stalled = ResumptionStalled

    async def refuse(self, exc: Exception) -> None:
        if isinstance(exc, _PASSING) and (self.framing.length or 0) - self._bytes_in >= _MUCH:
            self.linger_seconds = _CURT_SECONDS
        await super().refuse(exc)
