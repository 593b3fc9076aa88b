"""The links that umusic hands out, BASE/record?id=…&user=…, and what a link that comes in says."""

import uuid
from collections.abc import Callable
from urllib.parse import urlencode

from tornado.httputil import HTTPServerRequest

from umusic.errors import InvalidField, RecordUnknown
from umusic.web.dialects import OWNER_PARAMETERS
from umusic.web.proxies import TrustedProxies


class Links:
    """Makes absolute links. BASE is `public_url`, or else what the request came by.

    X-Forwarded-Proto and X-Forwarded-Host count only if the peer is a trusted proxy.
    """

    def __init__(self, public_url: str | None, proxies: TrustedProxies) -> None:
        self._public_url = public_url.rstrip("/") if public_url else None
        self._proxies = proxies

    def record(self, request: HTTPServerRequest, user_id: uuid.UUID, record_id: uuid.UUID) -> str:
        """The link of a record."""
        return self.to(request, f"/record?{urlencode({'id': record_id, 'user': user_id})}")

    def to(self, request: HTTPServerRequest, path: str) -> str:
        """The link to a path of umusic's."""
        if self._public_url:
            return self._public_url + path
        scheme, host = request.protocol, request.host
        if self._proxies.sent(request):
            forwarded = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip()
            scheme = forwarded if forwarded in ("http", "https") else scheme
            host = request.headers.get("X-Forwarded-Host", "").partition(",")[0].strip() or host
        return f"{scheme}://{host}{path}"


def record_named(query: Callable[[str], str | None]) -> tuple[uuid.UUID, uuid.UUID]:
    """Which record a link names, by the parameters of its query: its id and its user's.

    Raises:
        InvalidField: one of them is missing.
        RecordUnknown: one of them is no UUID, so there is no such record.
    """
    record_id = query("id")
    user_id = next(filter(None, map(query, OWNER_PARAMETERS)), None)
    if not record_id or not user_id:
        raise InvalidField("A record's link has both id and user: /record?id=…&user=…")
    try:
        return uuid.UUID(record_id), uuid.UUID(user_id)
    except ValueError as exc:
        raise RecordUnknown from exc
