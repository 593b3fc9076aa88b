"""Which other sites' pages may ask umusic from a browser: the Fetch standard's CORS protocol.

Without credentials mode: tokens go in Authorization, and there are no cookies. Whoever sends no
Origin, or one that is not allowed, gets no header of all this.
"""

from collections.abc import Collection, Mapping

from tornado.httputil import HTTPServerRequest

from umusic.web import tus_headers as tus

#: Any origin.
ANY = "*"

#: What a page may send besides what every page may.
_REQUEST_HEADERS = (
    "Content-Disposition",
    "Content-Digest",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Range",
    "Repr-Digest",
    *tus.CORS_REQUEST_HEADERS,
)
#: What a page may see of an answer besides what every page may.
_RESPONSE_HEADERS = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "ETag",
    "Link",
    "Repr-Digest",
    "WWW-Authenticate",
    *tus.CORS_RESPONSE_HEADERS,
)
#: How long a browser may remember it, in seconds. Chromium takes two hours at most.
_MAX_AGE = 7200


class Cors:
    """Pages of these origins may ask: `scheme://host[:port]` each, or "*" for all."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def headers(
        self, request: HTTPServerRequest, methods: Collection[str] = ()
    ) -> Mapping[str, str]:
        """What any answer to this request bears, a refusal as well; with `methods`, also what a
        browser that asks beforehand hears on a path that takes these, OPTIONS among them."""
        origin = request.headers.get("Origin")
        if origin is None or not (ANY in self._origins or origin in self._origins):
            return {}
        permission = self.preflight(request, ", ".join(sorted(methods))) if methods else None
        return {
            **(permission or {}),
            "Access-Control-Allow-Origin": ANY if ANY in self._origins else origin,
            "Access-Control-Expose-Headers": ", ".join(_RESPONSE_HEADERS),
            # A cache must not give one origin's answer to another.
            "Vary": "Origin",
        }

    def preflight(self, request: HTTPServerRequest, methods: str) -> Mapping[str, str] | None:
        """What is answered to a browser that asks beforehand, on a path that takes these methods;
        None if it may not, or if this is no such question."""
        asked = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not asked or not self.headers(request):
            return None
        return {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": ", ".join(_REQUEST_HEADERS),
            "Access-Control-Max-Age": str(_MAX_AGE),
        }
