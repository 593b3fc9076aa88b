"""How umusic and five older services of its kind, A to E, spell what they ask and answer.

Data for the handlers: where a request goes, where its credentials are, how the reply looks. Every
path understands every way to send credentials, so a dialect is a path and a reply; the tests
`tests/test_service_*.py` play each service's client.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Registering:
    """A way to register. `name_taken` is the JSON that a name that is taken is answered with, and
    status 200; None: it is an error like all others."""

    path: str
    name_taken: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Uploading:
    """A way to upload. `link_members` are what the reply calls the link, besides `link`; None: the
    reply is the bare link as a JSON string."""

    path: str
    link_members: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """Where a user's id and token may be in an upload: in the query string, in form fields, or in
    a form field `data` that holds a JSON object."""

    place: Literal["query", "form", "data"]
    user_id: str
    token: str


#: The name of a new user is in the first of these that the JSON has: umusic, A, C, D; B, E.
NAME_FIELDS = ("name", "username")

REGISTERING = (
    Registering("/user"),  # umusic, A, B, E
    Registering("/users", name_taken={"error_name": "user with name already is"}),  # C, D
)

#: Besides `Authorization: Bearer` (umusic, B, E); the first that is there counts. With Bearer, the
#: user id alone says in whose library the upload is filed (B, E).
PAIRS = (
    Pair("form", "user_id", "token"),
    Pair("query", "user_id", "token"),  # A, C
    Pair("data", "user_id", "access_token"),  # D
)

RECORD = Uploading("/record", ("download_link",))  # umusic, B, C

UPLOADING = (
    RECORD,
    Uploading("/audio", None),  # A
    Uploading("/users/wav"),  # D
    Uploading("/audiotrack", ("audiotrack_url",)),  # E
)

#: Where MP3s are, and how the user is called there: links have the first of both.
DOWNLOAD_PATHS = ("/record", "/audiotrack")
OWNER_PARAMETERS = ("user", "user_id")
