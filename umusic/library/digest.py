"""The hash of what streams past, computed on a thread."""

import asyncio
import hashlib

#: To hand work to a thread costs as much as to hash some 100 kB.
_BATCH_BYTES = 2**20


class RunningDigest:
    """Takes bytes as they come and hashes a batch of them while the next one is collected.
    `algorithm` is one that hashlib knows."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self._hash = hashlib.new(algorithm)
        self._batch = bytearray()
        self._hashing: asyncio.Future[None] | None = None

    async def update(self, data: bytes) -> None:
        """Takes the next bytes, and waits while more than a batch is yet to be hashed."""
        self._batch += data
        if len(self._batch) >= _BATCH_BYTES:
            await self._hash_batch()

    async def digest(self) -> bytes:
        """The hash of all."""
        await self._hash_batch()
        if self._hashing is not None:
            await self._hashing
        return self._hash.digest()

    async def _hash_batch(self) -> None:
        """Waits for the batch before, and has this one hashed."""
        if self._hashing is not None:
            await self._hashing
        batch, self._batch = self._batch, bytearray()
        loop = asyncio.get_running_loop()
        self._hashing = loop.run_in_executor(None, self._hash.update, batch)
