"""The tree of umusic's errors. It knows no HTTP: `web/errors.py` has the one table to statuses.

The docstring of each class is the sentence that a client may see, `code` is the stable slug of
its problem type. A more precise sentence can be given as `detail`; what caused the error is
chained with `raise … from exc` and goes to the log only.
"""

import contextlib
import errno
import inspect
from collections.abc import Iterator


class StartError(Exception):
    """umusic cannot start. The message says why and what to do."""


class UploadFailed(Exception):
    """`umusic upload` could not send a file. The message says why."""


class UmusicError(Exception):
    """Something went wrong inside umusic and has been logged. Please try again later."""

    code = "internal-error"

    def __init__(self, detail: str | None = None, **members: str | int) -> None:
        self.detail = detail or type(self).sentence()
        self.members = members
        super().__init__(self.detail)

    @classmethod
    def sentence(cls) -> str:
        """The class docstring as one line."""
        return " ".join(inspect.cleandoc(cls.__doc__ or "").split())


# --- what was asked cannot be read ------------------------------------------------------------


class InvalidRequest(UmusicError):
    """The request could not be read."""

    code = "invalid-request"


class MalformedFraming(InvalidRequest):
    """The request's length headers are wrong: send either one Content-Length, a plain decimal
    number, or Transfer-Encoding: chunked."""

    code = "malformed-framing"


class MalformedJson(InvalidRequest):
    """The body is not a JSON object."""

    code = "malformed-json"


class MalformedForm(InvalidRequest):
    """The multipart/form-data body cannot be read."""

    code = "malformed-form"


class CredentialsAfterFile(InvalidRequest):
    """The file came before the credentials. Put the form fields user_id and token before the
    file, or send Authorization: Bearer."""

    code = "credentials-after-file"


class LengthMissing(UmusicError):
    """An upload needs a Content-Length, or Transfer-Encoding: chunked."""

    code = "length-required"


class ExpectationUnknown(UmusicError):
    """The only expectation umusic can meet is Expect: 100-continue."""

    code = "expectation-failed"


# --- who asks, and for what -------------------------------------------------------------------


class Unauthenticated(UmusicError):
    """Nobody is known by these credentials."""

    code = "unauthenticated"


class TokenMissing(Unauthenticated):
    """Credentials are needed: send Authorization: Bearer TOKEN."""

    code = "token-missing"


class TokenUnknown(Unauthenticated):
    """This token is not known here. POST /user gives a new user and token."""

    code = "token-unknown"


class Forbidden(UmusicError):
    """This is not yours to change."""

    code = "forbidden"


class FilingForOthersOff(Forbidden):
    """Records cannot be filed under another user here: leave user_id out, or send your own."""

    code = "filing-for-others-off"


class RegistrationClosed(Forbidden):
    """Registration is closed here. Ask whoever runs this umusic for a user."""

    code = "registration-closed"


class NotFound(UmusicError):
    """There is nothing here."""

    code = "not-found"


class PathUnknown(NotFound):
    """There is nothing at this path. An upload goes to POST /record, a new user to POST /user."""

    code = "path-not-found"


class PairUnknown(NotFound):
    """Doesn't exist such user + token"""

    code = "user-token-not-found"


class UserUnknown(NotFound):
    """There is no such user."""

    code = "user-not-found"


class RecordUnknown(NotFound):
    """Audio file is not found"""

    code = "record-not-found"


class MethodUnknown(UmusicError):
    """This path does not take this method; the Allow header lists those it takes."""

    code = "method-not-allowed"


class Conflict(UmusicError):
    """This is already taken."""

    code = "conflict"


class UserNameTaken(Conflict):
    """A user with this name exists already. Choose another name."""

    code = "user-name-taken"


class RecordNameTaken(Conflict):
    """This library holds a record of this name already. Choose another name."""

    code = "record-name-taken"


# --- what was sent ----------------------------------------------------------------------------


class BodyStalled(UmusicError):
    """The body stalled: nothing, or next to nothing, arrived for too long. Please send it again."""

    code = "body-stalled"


class TooLarge(UmusicError):
    """The body is larger than is taken here."""

    code = "too-large"


class QuotaExceeded(TooLarge):
    """The library has no room left for this."""

    code = "quota-exceeded"


class PreconditionFailed(UmusicError):
    """The file is not the one that the request is meant for."""

    code = "precondition-failed"


class RangeUnsatisfiable(UmusicError):
    """The range asked for lies outside of the file; Content-Range tells its size."""

    code = "range-not-satisfiable"


class Unsupported(UmusicError):
    """This kind of body is not taken."""

    code = "unsupported"


class NotWav(Unsupported):
    """The body is not a WAV."""

    code = "not-a-wav"


class CodecUnsupported(Unsupported):
    """The WAV holds sound in a codec that is not taken."""

    code = "codec-not-supported"


class ContentEncoded(Unsupported):
    """The body bears a Content-Encoding. Send the WAV itself, without compression."""

    code = "content-encoding-not-supported"


class Unprocessable(UmusicError):
    """The body can be read, but not used."""

    code = "unprocessable"


class InvalidField(Unprocessable):
    """A field has a wrong value."""

    code = "invalid-field"


class BrokenWav(Unprocessable):
    """The WAV is broken."""

    code = "broken-wav"


class NoSound(Unprocessable):
    """The WAV holds no sound."""

    code = "no-sound"


# --- not now ----------------------------------------------------------------------------------


class Unavailable(UmusicError):
    """umusic cannot do this at the moment. Please try again in a little while."""

    code = "unavailable"


class Draining(Unavailable):
    """umusic is being restarted. Please try again in a little while."""

    code = "draining"


class TooManyUploads(Unavailable):
    """Too many uploads are running at once. Please try again in a little while."""

    code = "too-many-uploads"


class RecordBusy(Unavailable):
    """Somebody else is changing this record. Please try again in a little while."""

    code = "record-busy"


class MediaAway(Unavailable):
    """What is kept cannot be reached, or cannot be written, at the moment. Please try again in a
    little while."""

    code = "media-away"


class DatabaseUnavailable(Unavailable):
    """The database does not answer at the moment. Please try again in a little while."""

    code = "database-unavailable"


class CommitUncertain(DatabaseUnavailable):
    """The database went away while the record was being committed. Please look whether it is
    there, and send it again if it is not."""

    code = "commit-uncertain"


class EncoderFailed(Unavailable):
    """The MP3 encoder failed; nothing was kept. Please try again."""

    code = "encoder-failed"
    complained = False


class OutOfResources(Unavailable):
    """The server has no descriptors or no memory left at the moment; nothing was kept. Please try
    again in a little while."""

    code = "out-of-resources"
    ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class NoSpace(UmusicError):
    """There is no room left on the volume; nothing was kept."""

    code = "no-space"
    ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def lacking(exc: BaseException) -> type[NoSpace | OutOfResources] | None:
    """What it means if the system says that it lacks something; None if it says something else."""
    if isinstance(exc, MemoryError):
        return OutOfResources
    number = exc.errno if isinstance(exc, OSError) else None
    return next((kind for kind in (NoSpace, OutOfResources) if number in kind.ERRNOS), None)


@contextlib.contextmanager
def out_of_room() -> Iterator[None]:
    """Turns what the system says of a full volume into NoSpace, and what it says of descriptors and
    memory that it has not into OutOfResources."""
    try:
        yield
    except OSError as exc:
        if kind := lacking(exc):
            raise kind from exc
        raise
