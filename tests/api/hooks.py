"""What Schemathesis has to be told to get anywhere: real records, real WAVs, users to waste.

It is loaded by Schemathesis itself, in a process of its own, and told in the environment where
umusic is and who has been registered there.
"""

import json
import os
import re
import uuid
from typing import Any
from urllib.request import Request, urlopen

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import AcceptedNegativeData, MalformedJson
from schemathesis.openapi.checks import (
    IgnoredAuth,
    MissingContentType,
    MissingHeaderNotRejected,
    RejectedPositiveData,
)

from tests.wavs import tone, wav

BASE = os.environ["API_BASE"]
TOKEN = os.environ["API_TOKEN"]
USER = os.environ["API_USER"]
RECORD = os.environ["API_RECORD"]

WAVS = [wav(tone(400)), wav(tone(800)), wav(tone(400), data_size=0)]
#: Whoever asks with these has no user afterwards, or not this token.
FATAL = {("DELETE", "/user"), ("POST", "/user/token")}
bodies = st.one_of(*[st.just(body) for body in WAVS] * 2, st.binary(max_size=200))
schemathesis.openapi.format("binary", bodies)
schemathesis.openapi.media_type("audio/wav", bodies)
schemathesis.openapi.media_type("application/offset+octet-stream", bodies)
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


def ask(method: str, path: str, body: bytes, token: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(BASE + path, body, headers, method=method), timeout=20) as reply:
        return json.load(reply)


def new_token() -> str:
    name = f"wasted {uuid.uuid4()}"
    return str(ask("POST", "/user", json.dumps({"name": name}).encode())["token"])


def new_record() -> str:
    return str(ask("PUT", "/record", WAVS[0], TOKEN)["id"])


def new_upload() -> str:
    """An upload by tus that waits for its bytes."""
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(len(WAVS[0])),
    }
    with urlopen(Request(f"{BASE}/uploads", b"", headers), timeout=20) as reply:
        return str(reply.headers["Location"].rpartition("/")[2])


def is_uuid(value: object) -> bool:
    try:
        return str(uuid.UUID(str(value))) == value
    except ValueError:
        return False


def is_upload(case: schemathesis.Case) -> bool:
    return "binary" in str(case.operation.definition.raw.get("requestBody"))


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: Any) -> None:
    """Puts a real record and user in place of those that are made up, and has others removed than
    those in use."""
    if (case.method.upper(), case.path) in FATAL and TOKEN in case.headers.get("Authorization", ""):
        case.headers["Authorization"] = f"Bearer {new_token()}"
    query = case.query
    if is_uuid(query.get("id")) and is_uuid(query.get("user")):
        query.update(id=RECORD if case.method.upper() != "DELETE" else new_record(), user=USER)
    if is_uuid(case.path_parameters.get("upload")):
        case.path_parameters["upload"] = new_upload()
    if is_upload(case) and is_uuid(query.get("user_id")):
        query["user_id"] = USER
    if isinstance(case.body, dict) and "file" in case.body:
        case.body["file"] = case.body.pop("file")  # after the fields


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Any, case: schemathesis.Case, response: Any
) -> bool:
    """Whether a failure counts. These do not: a part of a JSON file (Range) is no JSON; and some of
    uploads.

    A wrong pair of user_id and token, which may be in the form as well, is not refused with 401 as
    other credentials are, but with 404, as the service A does; half a pair with 422, and one that
    cannot be read with 400. And the fields of a form are text, of whatever type they were made.
    """
    if isinstance(failure, MalformedJson) and response.status_code == 206:
        return False
    if isinstance(failure, IgnoredAuth):
        return not (is_upload(case) and re.search("got `(400|404|422)", failure.message))
    if case.path.startswith("/uploads") and not _counts_of_tus(failure, case, response):
        return False
    in_form = is_upload(case) and case.media_type == "multipart/form-data"
    return not (in_form and isinstance(failure, AcceptedNegativeData))


def _counts_of_tus(failure: Any, case: schemathesis.Case, response: Any) -> bool:
    """Whether a failure of an upload by tus counts. By tus 1.0.0 a wrong or missing version is
    412, and a length that does not fit 413; what does not say which method it stands for is a
    POST, which is not taken; OPTIONS looks at no upload; other headers do not matter; and an upload
    that has begun has a body in its answer only when it has come to its end as well."""
    if isinstance(failure, RejectedPositiveData):
        return bool(response.status_code != 413)
    if isinstance(failure, AcceptedNegativeData | MissingHeaderNotRejected):
        elsewhere = response.status_code in (405, 412, 413) or case.method.upper() == "OPTIONS"
        return not (elsewhere or "unexpected properties" in failure.message)
    if isinstance(failure, MalformedJson | MissingContentType):
        return bool(response.status_code != 201)
    return True
