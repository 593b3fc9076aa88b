"""/openapi.json: the description of the API. /docs, which shows it, is a page like others."""

from umusic.web.api.document import document
from umusic.web.base import BaseHandler


class OpenApiHandler(BaseHandler):
    """/openapi.json: what the API takes and gives, for machines."""

    def get(self) -> None:
        """Tells it."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-cache")
        self.write(document())

    head = get
