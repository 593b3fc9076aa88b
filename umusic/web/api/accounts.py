"""The operations about users and their own accounts."""

from umusic.errors import (
    CommitUncertain,
    DatabaseUnavailable,
    InvalidField,
    MalformedJson,
    MediaAway,
    RecordBusy,
    RegistrationClosed,
    TokenMissing,
    TokenUnknown,
    UserNameTaken,
)
from umusic.web.api.examples import ACCOUNT, NEW_TOKEN
from umusic.web.api.terms import (
    IF_NONE_MATCH,
    NO_STORE,
    Kind,
    Operation,
    Reply,
    json,
    readable,
)
from umusic.web.dialects import REGISTERING, Registering
from umusic.web.schemas import Account, NewToken, Registration

BEARER = (("Bearer",),)
#: What a token in Authorization may be answered with.
OF_BEARER: tuple[Kind, ...] = (TokenMissing, TokenUnknown, DatabaseUnavailable)
#: What a change in the database may be answered with.
OF_CHANGE: tuple[Kind, ...] = (DatabaseUnavailable, CommitUncertain)

_IDS = {
    "/user": (
        "register",
        "Register a user",
        "Umusic's own, and that of the services A, B and E. A name that is taken is 409.",
    ),
    "/users": (
        "registerAtUsers",
        "Register a user, as the services C and D do",
        "As `POST /user`; but a name that is taken is answered with 200 and `error_name`.",
    ),
}


def registering(dialect: Registering) -> Operation:
    """A way to register."""
    name, summary, text = _IDS[dialect.path]
    replies = {
        201: Reply(
            "The new user. The token is told only here.", json(NewToken, NEW_TOKEN), (NO_STORE,)
        )
    }
    taken = dialect.name_taken
    if taken is not None:
        members = {member: {"const": value} for member, value in taken.items()}
        schema = {"type": "object", "properties": members, "required": list(members)}
        replies[200] = Reply("The name is taken; nobody was registered.", json(schema, taken))
    return Operation(
        id=name,
        tag="Users" if taken is None else "Older services",
        summary=summary,
        text=f"{text} The body is read as JSON whatever Content-Type says.",
        replies=replies,
        problems=(
            MalformedJson,
            InvalidField,
            RegistrationClosed,
            *((UserNameTaken,) if taken is None else ()),
            *OF_CHANGE,
        ),
        body=json(Registration, {"name": NEW_TOKEN["name"]}),
        deprecated=taken is not None,
    )


OPERATIONS: dict[str, dict[str, Operation]] = {
    dialect.path: {"POST": registering(dialect)} for dialect in REGISTERING
}
OPERATIONS["/user/token"] = {
    "POST": Operation(
        id="renewToken",
        tag="Users",
        summary="Get a new token in place of the old one",
        text="The token that asks is dead at once. There is no body.",
        replies={200: Reply("The new token.", json(NewToken, NEW_TOKEN), (NO_STORE,))},
        problems=(*OF_BEARER, *OF_CHANGE),
        security=BEARER,
    )
}
OPERATIONS["/user"] |= {
    "GET": Operation(
        id="getAccount",
        tag="Users",
        summary="Tell whose token it is, and how much the library holds",
        text="Records, bytes of MP3 and seconds of sound in one's own library, and the quota.",
        replies=readable(Reply("The account.", json(Account, ACCOUNT), (NO_STORE,))),
        problems=OF_BEARER,
        parameters=(IF_NONE_MATCH,),
        security=BEARER,
    ),
    "DELETE": Operation(
        id="deleteUser",
        tag="Users",
        summary="Remove oneself, with all records and files",
        text="There is no way back. Links into the library are dead at once.",
        replies={204: Reply("User, records and files are gone.", headers=(NO_STORE,))},
        problems=(*OF_BEARER, *OF_CHANGE, RecordBusy, MediaAway),
        security=BEARER,
    ),
}
