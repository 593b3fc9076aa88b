"""Whose word is taken for what only a proxy can know."""

import ipaddress

from tornado.httputil import HTTPServerRequest

from umusic.settings import Network


class TrustedProxies:
    """The proxies whose X-Forwarded-Proto, X-Forwarded-Host and X-Request-ID are believed."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._networks = networks

    def sent(self, request: HTTPServerRequest) -> bool:
        """Whether the request comes from one of them."""
        try:
            address = ipaddress.ip_address(request.remote_ip or "")
        except ValueError:
            return False
        return any(address in network for network in self._networks)
