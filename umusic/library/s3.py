"""How S3 is reached, and what it says of its faults."""

import re
from dataclasses import dataclass

#: What S3 calls an error (of the XML that comes with it), and what the system calls one.
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r'message: "([^"]+)"')
#: A name in a key; both of a key are a link. And how much of what else is said is kept.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SAID = 300


@dataclass(frozen=True, slots=True)
class S3Access:
    """How S3 is reached: `endpoint` is a URL, None for AWS; without keys the credentials are those
    of the instance."""

    region: str
    endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = None


class StoreFault(Exception):
    """What a store says of its fault, in a line that tells nobody's link."""

    def __init__(self, exc: BaseException) -> None:
        text = str(exc)
        known = _CODE.search(text) or _MESSAGE.search(text)
        super().__init__(known[1] if known else _UUID.sub("…", text.partition("\n")[0])[:_SAID])
