"""All operations, by path and method.

HEAD works wherever GET does, and is described where it matters.

A path is written as in `app._routes`; `tests/test_openapi.py` holds both together.
"""

from umusic.web.api import accounts, outlines, records, resumable, system, uploads
from umusic.web.api.terms import Operation

#: In the order in which they are shown.
_PATHS = (
    "/user",
    "/user/token",
    "/record",
    "/record/info",
    "/record/peaks",
    "/record/waveform",
    "/record/{filename}",
    "/records",
    "/uploads",
    "/uploads/{upload}",
    "/users",
    "/audio",
    "/users/wav",
    "/audiotrack",
)


def _joined() -> dict[str, dict[str, Operation]]:
    """The operations of all modules, by path."""
    found: dict[str, dict[str, Operation]] = {path: {} for path in _PATHS}
    for module in (accounts, uploads, resumable, records, outlines, system):
        for path, operations in module.OPERATIONS.items():
            found.setdefault(path, {}).update(operations)
    return found


OPERATIONS = _joined()
