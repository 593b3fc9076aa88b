"""Brings the database's schema to a revision: Alembic's migrations, run from here.

It is the first to meet the database, and so tells what is wrong with UMUSIC_DATABASE_URL.
"""

import logging
import re
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from umusic.errors import StartError

log = logging.getLogger(__name__)

#: The newest revision that this umusic knows.
HEAD = "head"
_MIGRATIONS = Path(__file__).parents[2] / "migrations"
#: How long a database is waited for that may be about to start, and before it is asked again.
_PATIENCE = 10.0
_PAUSE = 0.5
#: SQLSTATE cannot_connect_now: it starts, or shuts down.
_STARTING = "57P03"
#: What asyncpg says of a server that has no TLS.
_WITHOUT_TLS = "rejected SSL upgrade"
#: What to do, by the beginning of the SQLSTATE.
_ADVICE = {
    "28": "See its user and password; and sslmode, where it asks for encryption.",
    "3D": "Make that database with createdb, or name another.",
    "42501": "Grant the role CREATE on the schema public, or make it the owner of the database.",
    "42704": "Leave away what PostgreSQL does not know.",
    "08P01": "If it is a pooler that says so, see what it knows of the database and the user.",
}
#: Parameters that name files.
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_UNREADABLE = (
    "It cannot be read. Write it as postgresql://user:password@host:5432/database, what is special "
    "in the password percent-encoded (@ is %40)."
)


def config(database_url: str) -> Config:
    """Alembic's configuration for the database at `database_url`."""
    made = Config()
    made.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    made.attributes["database_url"] = database_url
    return made


def migrate(database_url: str, revision: str = HEAD) -> str:
    """Runs the migrations up or down to `revision`; returns its name. Blocks, with an event loop of
    its own. A database that seems to be starting is waited for.

    Raises:
        StartError: the database cannot be used, or the revision that it has, or is to have, is not
            known.
    """
    settings = config(database_url)
    script = ScriptDirectory.from_config(settings)
    known = [each.revision for each in script.walk_revisions()]
    target = known[0] if revision == HEAD else revision
    if target not in known:
        raise StartError(
            f"There is no revision {target} of the schema. There are: {', '.join(sorted(known))}."
        )

    def steps(current: Any, _: object) -> Any:  # a tuple, whatever Alembic's annotations say
        if strange := set(current) - set(known):
            raise StartError(
                f"The database's schema ({', '.join(strange)}) is newer than this umusic, which "
                f"knows those up to {known[0]}: start the umusic that made it, or first let that "
                f"one go back by `umusic migrate --to {known[0]}`."
            )
        if current != (target,):
            log.info("migrates the schema from %s to %s", *current or ("nothing",), target)
        passed = known[known.index(current[0]) :] if current else []
        if target in passed:
            return script._downgrade_revs(target, current)
        return script._upgrade_revs(target, current)

    def run() -> None:
        with EnvironmentContext(settings, script, fn=steps, destination_rev=target):
            script.run_env()

    _check_files(database_url)
    _insist(run, database_url)
    return target


def _check_files(database_url: str) -> None:
    """Of a file that it cannot read asyncpg tells no name."""
    for name, path in _parameters(database_url):
        try:
            if name in _FILES:
                Path(path).open("rb").close()
        except OSError as exc:
            raise StartError(
                f"UMUSIC_DATABASE_URL: {path}, its {name}, cannot be read ({exc.strerror})."
            ) from exc


def _insist(run: Callable[[], None], database_url: str) -> None:
    """Runs it, again and again while the database may be about to start."""
    deadline = time.monotonic() + _PATIENCE
    told = False
    while True:
        try:
            return run()
        except (OSError, SQLAlchemyError, CommandError, TypeError, ValueError) as exc:
            complaint = f"UMUSIC_DATABASE_URL: {_complaint(exc, database_url)}"
            if not _may_pass(exc) or time.monotonic() > deadline:
                raise StartError(complaint) from exc
        if not told:
            log.warning("%s It may be starting, and gets %.0f s.", complaint, _PATIENCE)
            told = True
        time.sleep(_PAUSE)


def _may_pass(exc: Exception) -> bool:
    """Whether it is what one hears of a database that is starting, or whose machine is."""
    if isinstance(exc, OSError):
        lasting = isinstance(exc, ssl.SSLError | TimeoutError | PermissionError)
        return not lasting and _WITHOUT_TLS not in str(exc)
    return _state(exc) == _STARTING


def _complaint(exc: Exception, database_url: str) -> str:
    """A sentence or two. Nothing of the URL is in it but host and port: the rest may be secret."""
    if isinstance(exc, OSError):  # some of which are ValueErrors, too
        return _complaint_of_network(exc, database_url)
    if isinstance(exc, TypeError | ValueError):
        return _UNREADABLE
    state = _state(exc)
    advice = next((text for start, text in _ADVICE.items() if state.startswith(start)), "")
    return f"The database cannot be used: {_said(exc)}. {advice}".rstrip()


def _complaint_of_network(exc: OSError, database_url: str) -> str:
    where = _host(database_url)
    if isinstance(exc, socket.gaierror):
        return f"There is no host {where} ({exc.strerror}). Is its name right?"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return (
            f"The certificate of {where} cannot be trusted ({exc.verify_message}). sslrootcert has "
            "to name the file with the certificate of whoever signed it; and with "
            "sslmode=verify-full it has to be for the host that the URL names."
        )
    if isinstance(exc, ssl.SSLError):
        return f"TLS with {where} fails ({exc.reason or exc.strerror}). See sslmode, and its files."
    if _WITHOUT_TLS in str(exc):
        return f"There is no TLS at {where}, and sslmode asks for it. Have it turned on there."
    if ":" not in where:
        where = f"{where}:5432"
    if isinstance(exc, TimeoutError):
        return (
            f"No PostgreSQL answers at {where}: something is there, and says nothing. If it is a "
            "pooler, does it reach its database?"
        )
    return f"No PostgreSQL can be reached at {where} ({exc}). Does it run, and are they right?"


def _host(database_url: str) -> str:
    """The host, or several, and the port if there is one."""
    place = re.split("[/?#]", database_url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
    return place or dict(_parameters(database_url)).get("host", "localhost")


def _parameters(database_url: str) -> list[tuple[str, str]]:
    return parse_qsl(database_url.partition("?")[2])


def _state(exc: Exception) -> str:
    return str(getattr(_origin(exc), "sqlstate", None) or "")


def _said(exc: Exception) -> str:
    """What PostgreSQL said: the message alone, as details may quote what is in the tables."""
    origin = _origin(exc)
    return str(getattr(origin, "message", None) or origin).splitlines()[0].rstrip(".")


def _origin(exc: Exception) -> BaseException:
    """asyncpg's own exception, where SQLAlchemy has wrapped it."""
    wrapped = exc.orig if isinstance(exc, DBAPIError) else None
    return (wrapped.__cause__ or wrapped) if wrapped else exc
