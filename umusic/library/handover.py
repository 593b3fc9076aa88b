"""How one process gets a resumable upload that another one has in hand.

The lock on the part-file says who has it. Who wants it says so in the row, and waits.
"""

import asyncio
import time

from umusic.library.uploads import Uploads
from umusic.library.wav_part import WavPart
from umusic.resumable_errors import ResumptionLocked

#: How long to wait for another process to let go, in seconds, and between looks at its lock.
PATIENCE = 5.0
PAUSE = 0.05
#: Between asking for it again.
_ASK_SECONDS = 1.0


async def claim(part: WavPart, patience: float, uploads: Uploads) -> bool:
    """Waits so many seconds for the lock on a part-file, and has whoever holds it let go. Returns
    whether somebody did.

    Raises:
        ResumptionLocked: nobody does. What `WavPart.claim` raises.
    """
    deadline = time.monotonic() + patience
    asked = 0.0
    while not await asyncio.to_thread(part.claim):
        now = time.monotonic()
        if now >= deadline:
            raise ResumptionLocked
        if now - asked > _ASK_SECONDS:
            asked = now
            await uploads.want(part.upload_id)
        await asyncio.sleep(PAUSE)
    return asked > 0
