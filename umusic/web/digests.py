"""Content-Digest and Repr-Digest of an upload (RFC 9530): what arrives against what was announced.

Both are of the body as it is sent, form and all: a request has no other representation.
"""

from collections.abc import Mapping

from tornado.httputil import HTTPHeaders

from umusic.library.digest import RunningDigest
from umusic.library.turns import Checksum
from umusic.upload_errors import DigestMismatch, MalformedHeader
from umusic.web.headers import structured

_HEADERS = ("Content-Digest", "Repr-Digest")
#: The algorithms of RFC 9530, 5, that are not deprecated, as hashlib calls them.
_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}


class AnnouncedDigests:
    """What the headers announce of a body; those of algorithms that are not known do not count.

    Raises:
        MalformedHeader: a header cannot be read.
    """

    def __init__(self, headers: HTTPHeaders) -> None:
        self._announced = [
            (name, algorithm, digest)
            for name in _HEADERS
            for algorithm, digest in announced(name, headers).items()
        ]
        self._running = {
            algorithm: RunningDigest(_ALGORITHMS[algorithm]) for _, algorithm, _ in self._announced
        }

    async def update(self, data: bytes) -> None:
        """Takes the next bytes of the body."""
        for running in self._running.values():
            await running.update(data)

    async def check(self) -> None:
        """Says that the body has ended.

        Raises:
            DigestMismatch: it is not the one that was announced.
        """
        found = {name: await running.digest() for name, running in self._running.items()}
        for header, algorithm, digest in self._announced:
            if found[algorithm] != digest:
                raise DigestMismatch(
                    f"The body that arrived does not have the {algorithm} of {header}; nothing was "
                    "kept. Please send it again.",
                    header=header,
                    algorithm=algorithm,
                )


def announced_check(headers: HTTPHeaders) -> Checksum | None:
    """What Content-Digest announces, as an upload in pieces has it checked: one digest of those.

    Raises:
        MalformedHeader: the header cannot be read.
    """
    for algorithm, digest in announced("Content-Digest", headers).items():
        return Checksum(_ALGORITHMS[algorithm], digest)
    return None


def announced(name: str, headers: HTTPHeaders) -> Mapping[str, bytes]:
    """The digests in a header, by their algorithms; those that are not known do not count.

    Raises:
        MalformedHeader: it is no dictionary of byte sequences.
    """
    members = structured(name, headers.get(name, ""), "dictionary")
    digests = {key: member[0] for key, member in members.items()}
    if not all(isinstance(digest, bytes) for digest in digests.values()):
        raise MalformedHeader(
            f"{name} is written as sha-256=:BASE64: (RFC 9530).",
            header=name,
        )
    return {key: digest for key, digest in digests.items() if key in _ALGORITHMS}
