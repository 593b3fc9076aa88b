"""The errors of uploads that come in several requests.

A branch of the tree of `umusic.errors`, and of the same kind.
"""

from umusic.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    TooLarge,
    UmusicError,
    Unsupported,
)


class VersionUnsupported(PreconditionFailed):
    """This is an upload by tus 1.0.0: send Tus-Resumable: 1.0.0."""

    code = "tus-version-unsupported"


class ResumptionUnknown(NotFound):
    """There is no such upload. It may have expired long ago: begin a new one."""

    code = "upload-not-found"


class WrongOffset(Conflict):
    """The upload has another number of bytes than Upload-Offset says. Ask by HEAD how many it has,
    and go on from there."""

    code = "wrong-offset"


class LengthExceeded(TooLarge):
    """The upload would get more bytes than its Upload-Length says."""

    code = "upload-length-exceeded"


class NotOffsetStream(Unsupported):
    """A piece of an upload has the Content-Type application/offset+octet-stream."""

    code = "not-an-offset-stream"


class MismatchingOffset(Conflict):
    """The upload has another number of bytes than Upload-Offset says: as many as expected-offset.
    Go on from there."""

    code = "mismatching-upload-offset"


class InconsistentLength(InvalidRequest):
    """What the requests say of the upload's length does not agree, or does not fit what came."""

    code = "inconsistent-upload-length"


class NotPartialUpload(Unsupported):
    """A piece of an upload has the Content-Type application/partial-upload."""

    code = "not-a-partial-upload"


class ChecksumMismatch(UmusicError):
    """What arrived does not have the Upload-Checksum that was announced, and does not count. Please
    send it again."""

    code = "checksum-mismatch"


class ResumptionLocked(UmusicError):
    """Another request has this upload in hand. Please try again in a moment."""

    code = "upload-locked"


class OffsetUnknown(ResumptionLocked):
    """How far this upload is cannot be told at the moment, but nothing of it is lost. Please ask
    again in a little while."""

    code = "upload-offset-unknown"


class ResumptionStalled(ResumptionLocked):
    """Nothing of this upload, or next to nothing, arrived for too long. Ask by HEAD how many bytes
    it has, and go on from there."""

    code = "upload-stalled"


class ResumptionGone(UmusicError):
    """This upload has come to an end."""

    code = "upload-gone"


class ResumptionExpired(ResumptionGone):
    """This upload has expired: nothing of it came for too long. Begin a new one."""

    code = "upload-expired"


class ResumptionTerminated(ResumptionGone):
    """This upload has been terminated. Begin a new one."""

    code = "upload-terminated"


class ResumptionFailed(ResumptionGone):
    """This upload has failed for good. Begin a new one."""

    code = "upload-failed"
