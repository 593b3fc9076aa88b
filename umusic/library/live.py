"""The uploads that are running in this process, and whether there is room for one more."""

import uuid
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from umusic.errors import Draining, TooManyUploads
from umusic.library.orders import Limits, Order
from umusic.upload_errors import TooManyOfOneUser

T = TypeVar("T", bound=Hashable)


class LiveUploads(Generic[T]):
    """The uploads of type T, and what was ordered of each."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._orders: dict[T, Order] = {}
        self._by_uploader: Counter[uuid.UUID] = Counter()
        #: By uploader and key.
        self._keys: dict[tuple[uuid.UUID, str], T] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._orders)

    def __iter__(self) -> Iterator[T]:
        return iter(self._orders)

    def check_open(self) -> None:
        """Looks whether a further upload is taken now.

        Raises:
            Draining: umusic is about to stop.
            TooManyUploads: as many as may run do.
        """
        if self._closed:
            raise Draining
        if len(self._orders) >= self._limits.uploads:
            raise TooManyUploads

    def check_share(self, uploader_id: uuid.UUID) -> None:
        """Raises TooManyOfOneUser if as many uploads of this user run as may."""
        most = self._limits.uploads_per_user
        if self._by_uploader[uploader_id] >= most:
            raise TooManyOfOneUser(
                f"{most} of your uploads are running, and no more are taken at once. Please try "
                "again in a little while.",
                limit=most,
            )

    def claim_key(self, upload: T, order: Order) -> bool:
        """Takes the order's Idempotency-Key, if it has one, for this upload until `remove`. False
        if another one has it."""
        key = order.key
        return key is None or self._keys.setdefault((order.uploader_id, key), upload) is upload

    def add(self, upload: T, order: Order) -> None:
        """Counts an upload among the live ones, until `remove`.

        Raises:
            TooManyOfOneUser: its sender has as many as one may; and what `check_open` raises.
        """
        self.check_open()
        self.check_share(order.uploader_id)
        self._orders[upload] = order
        self._by_uploader[order.uploader_id] += 1

    def remove(self, upload: T) -> None:
        """Counts it no more. May be called more than once."""
        self._keys = {key: owner for key, owner in self._keys.items() if owner is not upload}
        order = self._orders.pop(upload, None)
        if order is not None:
            self._by_uploader -= Counter([order.uploader_id])

    def close(self) -> None:
        """Takes no further uploads from here on."""
        self._closed = True
