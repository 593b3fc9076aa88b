"""Whose word is taken for what only a proxy can know."""

import functools
import ipaddress

from tornado.httputil import HTTPServerRequest

from umusic.settings import Network


class TrustedProxies:
    """The proxies whose X-Forwarded-Proto, X-Forwarded-Host and X-Request-ID are believed."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._networks = networks
        # A list asks it for each of its links.
        self._has = functools.lru_cache(maxsize=256)(self._is_one)

    def sent(self, request: HTTPServerRequest) -> bool:
        """Whether the request comes from one of them."""
        return self._has(request.remote_ip or "")

    def _is_one(self, ip: str) -> bool:
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return False
        return any(address in network for network in self._networks)
