"""The links that umusic hands out: BASE/record?id=…&user=…"""

import ipaddress
import uuid
from urllib.parse import urlencode

from tornado.httputil import HTTPServerRequest

from umusic.settings import Network


class Links:
    """Makes absolute links. BASE is `public_url`, or else what the request came by.

    X-Forwarded-Proto and X-Forwarded-Host count only if the peer is a trusted proxy.
    """

    def __init__(self, public_url: str | None, trusted_proxies: tuple[Network, ...]) -> None:
        self._public_url = public_url.rstrip("/") if public_url else None
        self._trusted_proxies = trusted_proxies

    def record(self, request: HTTPServerRequest, user_id: uuid.UUID, record_id: uuid.UUID) -> str:
        """The link of a record."""
        query = urlencode({"id": record_id, "user": user_id})
        return f"{self._base(request)}/record?{query}"

    def _base(self, request: HTTPServerRequest) -> str:
        if self._public_url:
            return self._public_url
        scheme, host = request.protocol, request.host
        if self._is_trusted(request.remote_ip):
            forwarded = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip()
            scheme = forwarded if forwarded in ("http", "https") else scheme
            host = request.headers.get("X-Forwarded-Host", "").partition(",")[0].strip() or host
        return f"{scheme}://{host}"

    def _is_trusted(self, peer: str | None) -> bool:
        try:
            address = ipaddress.ip_address(peer or "")
        except ValueError:
            return False
        return any(address in network for network in self._trusted_proxies)
