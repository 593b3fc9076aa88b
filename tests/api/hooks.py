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
from schemathesis.openapi.checks import IgnoredAuth

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


def ask(method: str, path: str, body: bytes, token: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(BASE + path, body, headers, method=method), timeout=20) as reply:
        return json.load(reply)


def new_token() -> str:
    name = f"wasted {uuid.uuid4()}"
    return str(ask("POST", "/user", json.dumps({"name": name}).encode())["token"])


def new_record() -> str:
    return str(ask("PUT", "/record", WAVS[0], TOKEN)["id"])


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
    in_form = is_upload(case) and case.media_type == "multipart/form-data"
    return not (in_form and isinstance(failure, AcceptedNegativeData))
