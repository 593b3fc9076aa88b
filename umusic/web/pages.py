"""Pages for browsers and the files that they are made of, which come with umusic.

They are few and small, so they are read once and held; a request looks a name up, and no path. Who
may do what on a page is said by its Content-Security-Policy.
"""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umusic.errors import PathUnknown
from umusic.web.base import BaseHandler

STATIC = Path(__file__).parent / "static"
INDEX = "index.html"

#: What is sent, by the end of its name; other files are not.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_CSP = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of a page, as it is sent."""

    content_type: str
    body: bytes
    etag: str


@functools.cache
def page_files(directory: str) -> Mapping[str, PageFile]:
    """The files of a page by their names, from a directory of `STATIC`."""
    found = {}
    for path in sorted((STATIC / directory).iterdir()):
        if content_type := _TYPES.get(path.suffix):
            body = path.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            found[path.name] = PageFile(content_type, body, etag)
    return found


class PageHandler(BaseHandler):
    """GET a page, or one of the files that it is made of."""

    def initialize(  # type: ignore[override]
        self, files: Mapping[str, PageFile], csp: dict[str, str] | None = None, **common: Any
    ) -> None:
        """`files` are the page's; `csp` is what its policy has that differs from that of all.
        Takes also what every handler does."""
        super().initialize(**common)
        self._files = files
        self._csp = _CSP | (csp or {})
        self._file: PageFile | None = None

    def get(self, name: str = INDEX) -> None:
        """Sends the file of this name, or says that the client has it (304)."""
        self._file = self._files.get(name)
        if self._file is None:
            raise PathUnknown
        self.set_header("Content-Type", self._file.content_type)
        self.set_header("Content-Security-Policy", "; ".join(map(" ".join, self._csp.items())))
        self.set_header("Referrer-Policy", "no-referrer")
        # Asked again each time, which its ETag makes cheap: page and script are of one version.
        self.set_header("Cache-Control", "no-cache")
        self.write(self._file.body)

    head = get

    def compute_etag(self) -> str | None:
        return self._file.etag if self._file else super().compute_etag()
