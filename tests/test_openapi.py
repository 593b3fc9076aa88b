"""/openapi.json: whole, valid, and neither more nor less than what umusic does.

What comes back in the other tests is held against it as well (`tests/described.py`).
"""

import json
import re
import sys
import unicodedata
from typing import Any
from urllib.parse import urlsplit

import pytest
from openapi_spec_validator import validate
from tornado.web import Application

from tests.client import Account, Client, as_json, form
from tests.described import DOCUMENT, path_of, replies_of
from tests.test_wrong_requests import CASES
from tests.wavs import take
from umusic.errors import InvalidField, UmusicError
from umusic.library.names import RECORD_NAME, USER_NAME, record_name, user_name
from umusic.web.api.operations import OPERATIONS
from umusic.web.errors import problem_types, status_of, type_of

OPERATION_IDS = [told.id for methods in OPERATIONS.values() for told in methods.values()]


def routes(app: Application) -> set[tuple[str, str]]:
    """Every path and method that the route table has; HEAD goes without saying where GET is."""
    found = {
        (rule.matcher.path, method)
        for rule in app.wildcard_router.rules
        if hasattr(rule.matcher, "methods")
        for method in rule.matcher.methods
    }
    return {(path, method) for path, method in found if method != "HEAD"}


def described() -> set[tuple[str, str]]:
    found = {
        (path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert {(path, "GET") for path, method in found if method == "HEAD"} <= found
    return {(path, method) for path, method in found if method != "HEAD"}


@pytest.mark.gen_test
async def test_it_is_a_valid_openapi_3_1_document(client: Client) -> None:
    response = await client.fetch("/openapi.json")
    assert response.headers["Content-Type"] == "application/json"
    document = as_json(response)
    assert document["openapi"].startswith("3.1.")
    validate(document)
    again = {"If-None-Match": response.headers["Etag"]}
    assert (await client.fetch("/openapi.json", headers=again)).code == 304


def test_it_describes_every_route_and_no_other(app: Application) -> None:
    assert described() == routes(app)


def test_every_operation_says_what_it_is_for() -> None:
    assert len(set(OPERATION_IDS)) == len(OPERATION_IDS)
    for methods in OPERATIONS.values():
        for told in methods.values():
            assert told.summary and told.text
            assert told.deprecated == (told.tag == "Older services")
    for methods in DOCUMENT["paths"].values():
        for told in methods.values():
            for reply in told["responses"].values():
                for name in reply.get("links", {}):
                    assert name in OPERATION_IDS


def test_every_problem_that_can_be_is_described_somewhere() -> None:
    told = {
        kind
        for path, methods in OPERATIONS.items()
        for method in methods
        for kind in replies_of(method, path).problems
    }
    # Told where there is no operation to describe: at another method or path; by HEAD alone, whose
    # answers have no body; and by the draft that only those speak who have set it so.
    drafts = {"inconsistent-upload-length", "mismatching-upload-offset", "not-a-partial-upload"}
    elsewhere = {"method-not-allowed", "upload-offset-unknown", *drafts}
    leaves = {code for code, kind in problem_types().items() if not kind.__subclasses__()}
    assert leaves - elsewhere <= told


def test_the_patterns_of_names_are_those_that_are_taken() -> None:
    def is_taken(check: Any, name: str) -> bool:
        try:
            check(name)
        except InvalidField:
            return False
        return True

    for number in (*range(0x2100), 0x3000, 0xFEFF, 0xFFFF, 0x1F3B5, sys.maxunicode):
        character = chr(number)
        if unicodedata.category(character) == "Cs":
            continue  # JSON has no lone ones
        within = f"a{character}a"
        assert bool(re.search(RECORD_NAME, within)) == is_taken(record_name, within), hex(number)
        assert bool(re.search(USER_NAME, within)) == is_taken(user_name, within), hex(number)
    assert not re.search(USER_NAME, " \u3000") and not is_taken(user_name, " \u3000")


class TestEveryReplyThatIsPromised:
    """Each operation gives each of the replies that it is described with, problems aside."""

    async def first_of(self, client: Client) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
        me = await client.register("me")
        waste = [await client.register(f"waste {number}") for number in range(2)]
        records = [as_json(await client.upload(me, take(0.1))) for _ in range(2)]
        named, doomed = (f"?id={record['id']}&user={me.id}" for record in records)
        wav = (me.bearer, take(0.1))
        part = {"Range": "bytes=0-9"}
        requests: dict[tuple[str, str], list[tuple[Any, ...]]] = {
            ("POST", "/user"): [("/user", {}, b'{"name": "new"}')],
            ("POST", "/users"): [
                ("/users", {}, b'{"username": "newer"}'),
                ("/users", {}, b'{"name": "newer"}'),
            ],
            ("GET", "/user"): [("/user", me.bearer)],
            ("DELETE", "/user"): [("/user", waste[0].bearer)],
            ("POST", "/user/token"): [("/user/token", waste[1].bearer, b"")],
            ("GET", "/records"): [("/records", me.bearer)],
            ("GET", "/record/info"): [(f"/record/info{named}", {})],
            ("PATCH", "/record"): [(f"/record{named}", me.bearer, b'{"name": "x"}')],
            ("DELETE", "/record"): [(f"/record{doomed}", me.bearer)],
            ("PUT", "/record/info"): [("/record/info", *wav)],
            ("PUT", "/record/peaks"): [("/record/peaks", *wav)],
            ("PUT", "/record/waveform"): [("/record/waveform", *wav)],
            ("PUT", "/record/{filename}"): [("/record/take.wav", *wav)],
            ("GET", "/healthz"): [("/healthz", {})],
            ("GET", "/readyz"): [("/readyz", {})],
            ("GET", "/metrics"): [("/metrics", {})],
            ("GET", "/problems/{code}"): [("/problems/not-a-wav", {})],
            ("GET", "/openapi.json"): [("/openapi.json", {})],
            ("GET", "/"): [("/", {})],
            ("GET", "/static/{file}"): [("/static/page.css", {}), ("/static/icon.svg", {})],
            ("GET", "/docs"): [("/docs", {})],
            ("GET", "/docs/{file}"): [("/docs/docs.css", {}), ("/docs/docs.js", {})],
        }
        for path in ("/record", "/audiotrack"):
            for method in ("GET", "HEAD"):
                requests[method, path] = [(path + named, {}), (path + named, part)]
        requests |= await self.resumable(client, me)
        for path in ("/record/peaks", "/record/waveform"):
            requests["GET", path] = [(path + named, {}), (path + named, part)]
        for path in ("/record", "/audio", "/users/wav", "/audiotrack"):
            kind, body = form({}, take(0.1), filename=path[1:])
            requests["POST", path] = [(path, {**me.bearer, "Content-Type": kind}, body)]
            requests["PUT", path] = [(path, *wav)]
        return requests

    async def resumable(
        self, client: Client, me: Account
    ) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
        wav, version = take(0.1), {"Tus-Resumable": "1.0.0"}
        begin = {**version, **me.bearer, "Upload-Length": str(len(wav))}
        begun = [
            await client.fetch("/uploads", method="POST", body=b"", headers=begin) for _ in range(4)
        ]
        paths = [urlsplit(reply.headers["Location"]).path for reply in begun]
        piece = {**version, "Content-Type": "application/offset+octet-stream"}
        first = {**piece, "Upload-Offset": "0"}
        rest = {**piece, "Upload-Offset": "50", "Prefer": "return=representation"}
        override = {"X-HTTP-Method-Override": "PATCH"}
        upload = "/uploads/{upload}"
        return {
            ("POST", "/uploads"): [("/uploads", begin, b"")],
            ("OPTIONS", "/uploads"): [("/uploads", {})],
            ("OPTIONS", upload): [(paths[0], {})],
            ("HEAD", upload): [(paths[0], version)],
            ("GET", upload): [(paths[0], {})],
            ("PATCH", upload): [(paths[1], first, wav[:50]), (paths[1], rest, wav[50:])],
            ("POST", upload): [
                (paths[2], {**first, **override}, wav[:50]),
                (paths[2], {**rest, **override}, wav[50:]),
            ],
            ("DELETE", upload): [(paths[3], version)],
        }

    @pytest.mark.gen_test(timeout=120)
    async def test_comes(self, client: Client) -> None:
        for (method, path), requests in (await self.first_of(client)).items():
            promised = replies_of(method, path).successes
            seen = set()
            for url, headers, *body in requests:
                sent = {"method": method, "body": body[0] if body else None}
                response = await client.fetch(url, headers=headers, **sent)
                seen.add(response.code)
                if 304 in promised and "Etag" in response.headers:
                    again = {**headers, "If-None-Match": response.headers["Etag"]}
                    again.pop("Range", None)
                    seen.add((await client.fetch(url, headers=again, **sent)).code)
            assert seen == promised, (method, path)

    @pytest.mark.gen_test
    async def test_is_asked_of_every_operation(self, client: Client) -> None:
        asked = set(await self.first_of(client))
        assert asked == {(method, path) for path, told in OPERATIONS.items() for method in told}


#: Brought about by settings, by faults or by what else is going on: other tests have them.
NOT_BY_ITSELF = {403, 408, 411, 423, 429, 500, 503, 507}


def test_no_status_is_promised_that_nothing_brings_about() -> None:
    """The matrix of wrong requests has each that a request can bring about by itself."""
    tried = {(case.method, path_of(case.path.partition("?")[0]), case.status) for case in CASES}
    promised = {
        (method, path, status_of(kind))
        for path, methods in OPERATIONS.items()
        for method, told in methods.items()
        for kind in told.problems
        # PUT is POST under another name, as HEAD is GET.
        if method not in ("HEAD", "PUT") and path != "/metrics"
    }
    missing = {one for one in promised - tried if one[2] not in NOT_BY_ITSELF}
    assert not missing, sorted(missing)


def test_a_problem_is_told_in_full() -> None:
    problem = DOCUMENT["components"]["schemas"]["ProblemDetails"]
    assert problem["required"] == ["type", "title", "status", "detail"]
    examples = DOCUMENT["components"]["examples"]
    assert set(examples) == set(problem_types())
    for code, example in examples.items():
        assert example["value"]["type"] == type_of(code)
        assert json.dumps(example["value"])
    assert issubclass(problem_types()["internal-error"], UmusicError)
