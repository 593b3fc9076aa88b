"""A matrix of wrong requests: every one gets a problem with the contract's status, never a 500.

The cases are made from a table of all paths and methods; what is wrong with a request is one thing
at a time. Each case goes to a umusic with one user, one record, and another user beside.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.client import Client, as_json, both_ways, form
from tests.services import MISSING
from tests.stores import Kept
from tests.wavs import take, tone, wav
from umusic.app import Services

LIMIT = 60_000
QUOTA = 70_000
UPLOADS = ["/record", "/audio", "/users/wav", "/audiotrack"]
DOWNLOADS = ["/record", "/audiotrack"]
FILES = [*DOWNLOADS, "/record/peaks", "/record/waveform"]
REGISTRATIONS = ["/user", "/users"]
#: What each path takes.
METHODS = {
    "/user": {"GET", "HEAD", "POST", "DELETE"},
    "/users": {"POST"},
    "/user/token": {"POST"},
    "/records": {"GET", "HEAD"},
    "/record": {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"},
    "/record/info": {"GET", "HEAD", "PUT"},
    "/record/peaks": {"GET", "HEAD", "PUT"},
    "/record/waveform": {"GET", "HEAD", "PUT"},
    "/record/take.wav": {"PUT"},
    "/audio": {"POST", "PUT"},
    "/users/wav": {"POST", "PUT"},
    "/audiotrack": {"GET", "HEAD", "POST", "PUT"},
    "/": {"GET", "HEAD"},
    "/static/page.css": {"GET", "HEAD"},
    "/healthz": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
    "/problems/not-a-wav": {"GET", "HEAD"},
}
#: Those of one's own library: only Bearer counts. RECORD is the record's `id=…&user=…`.
OWN = [
    ("GET", "/user"),
    ("DELETE", "/user"),
    ("POST", "/user/token"),
    ("GET", "/records"),
    ("PATCH", "/record?RECORD"),
    ("DELETE", "/record?RECORD"),
]


@dataclass(frozen=True)
class Wrong:
    """A wrong request, and the statuses that the contract has for it. In path, headers and body
    ME, TOKEN, OTHER and RECORD stand for the user, its token, the other user and the record;
    UPLOAD, SHORT, GONE and HALF… for uploads by tus (see `inhabit`)."""

    what: str
    status: int
    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


BEARER = {"Authorization": "Bearer TOKEN"}


def wrong_credentials() -> Iterator[Wrong]:
    for method, path in OWN:
        body = b'{"name": "new"}' if method == "PATCH" else b"" if method == "POST" else None
        for what, headers in {
            "no token": {},
            "an unknown token": {"Authorization": f"Bearer {MISSING}"},
            "no UUID for a token": {"Authorization": "Bearer \u00fc'\"; DROP"},
            "Basic": {"Authorization": "Basic TUU6VE9LRU4="},
            "an empty Bearer": {"Authorization": "Bearer "},
        }.items():
            yield Wrong(what, 401, method, path, body, headers)
        joint = "&" if "?" in path else "?"
        in_query = f"{path}{joint}user_id=ME&token=TOKEN"
        yield Wrong("a pair where only Bearer counts", 401, method, in_query, body)
    for path in UPLOADS:
        for method in ("POST", "PUT"):
            for what, status, query, headers in [
                ("nothing", 401, "", {}),
                ("an unknown token", 401, "", {"Authorization": f"Bearer {MISSING}"}),
                ("Basic", 401, "", {"Authorization": "Basic TUU6VE9LRU4="}),
                ("a user without token", 401, "?user_id=ME", {}),
                ("a token without user", 422, "?token=TOKEN", {}),
                ("an unknown pair", 404, f"?user_id={MISSING}&token=TOKEN", {}),
                ("another's pair", 404, "?user_id=OTHER&token=TOKEN", {}),
                ("a wrong token", 404, "?user_id=ME&token=x", {}),
                ("no UUID", 404, "?user_id=7&token=TOKEN", {}),
                ("not UTF-8", 422, "?user_id=%FF&token=TOKEN", {}),
                ("an unknown library", 404, f"?user_id={MISSING}", BEARER),
                ("no UUID of a library", 422, "?user_id=7", BEARER),
            ]:
                yield Wrong(what, status, method, path + query, take(0.1), headers)


def wrong_methods() -> Iterator[Wrong]:
    for path, methods in METHODS.items():
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"):
            if method not in methods:
                body = b"{}" if method in ("POST", "PUT", "PATCH") else None
                yield Wrong("wrong method", 405, method, path, body, BEARER)
                if path != "/":
                    yield Wrong("wrong method", 405, method, f"{path}/", body, BEARER)


def wrong_paths() -> Iterator[Wrong]:
    for path in ("/nothing", "/record/a/b", "/users/wav/x", "/User", "//record", "/problems"):
        yield Wrong("no such path", 404, "GET", path)
    yield Wrong("no such path", 404, "POST", "/nothing", b"x" * 1000)
    yield Wrong("no such problem", 404, "GET", "/problems/none")
    for page in ("docs", "static"):
        yield Wrong("no such file", 404, "GET", f"/{page}/none.js")
    yield Wrong("no such file", 404, "GET", "/docs/..%2Fdocs%2Findex.html")


def wrong_records() -> Iterator[Wrong]:
    for method, path in [
        *[("GET", path) for path in (*FILES, "/record/info")],
        ("PATCH", "/record"),
        ("DELETE", "/record"),
    ]:
        body = b'{"name": "new"}' if method == "PATCH" else None
        for status, query in [
            (422, ""),
            (422, "?id=ID"),
            (422, "?user=ME"),
            (422, "?id=&user="),
            (422, "?id=%FF&user=ME"),
            (404, "?id=7&user=ME"),
            (404, "?id=ID&user=7"),
            (404, f"?id={MISSING}&user=ME"),
            (404, "?id=ID&user=OTHER"),
            (404, f"?id=ID&user_id={MISSING}"),
            (404, "?id=..%2F..%2Fetc%2Fpasswd&user=ME"),
            (404, "?id=%00&user=ME"),
        ]:
            yield Wrong("record", status, method, path + query, body, BEARER)
    for method in ("PATCH", "DELETE"):
        body = b'{"name": "new"}' if method == "PATCH" else None
        foreign = {"Authorization": "Bearer STRANGER"}
        yield Wrong("another's record", 403, method, "/record?RECORD", body, foreign)
    for path in FILES:
        beyond = {"Range": "bytes=99999999-"}
        yield Wrong("range beyond the end", 416, "GET", f"{path}?RECORD", None, beyond)
        yield Wrong("If-Match", 412, "GET", f"{path}?RECORD", None, {"If-Match": '"x"'})


def wrong_json() -> Iterator[Wrong]:
    targets = [("POST", path) for path in REGISTRATIONS] + [("PATCH", "/record?RECORD")]
    for method, path in targets:
        for status, body in [
            (400, b""),
            (400, b"name=Ann"),
            (400, b"[]"),
            (400, b'"Ann"'),
            (400, b"null"),
            (400, b'{"name": "Ann"'),
            (400, b'{"name": "\xff"}'),
            (400, b'{"name": "\\ud800"}'),
            (400, b"[" * 20_000),
            (400, b'{"name": "deep", "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
            (400, b'{"x": ' * 9_000 + b"1" + b"}" * 9_000),
            (400, b'{"name": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
            (422, b"{}"),
            (422, b'{"name": 7}'),
            (422, b'{"name": ["a"]}'),
            (422, b'{"name": ""}'),
            (422, b'{"name": "a\\u0000b"}'),
            (422, b'{"name": "a\\u0085b"}'),
            (422, json.dumps({"name": "x" * 251}).encode()),
            (413, json.dumps({"name": "x" * 70_000}).encode()),
        ]:
            yield Wrong("JSON", status, method, path, body, BEARER)
    yield Wrong("name taken", 409, "POST", "/user", b'{"name": "me"}')
    yield Wrong("name taken", 409, "POST", "/user", b'{"username": "me"}')
    yield Wrong("name taken", 409, "PATCH", "/record?RECORD", b'{"name": "taken"}', BEARER)


def wrong_queries() -> Iterator[Wrong]:
    for query in (
        "limit=",
        "limit=0",
        "limit=x",
        "limit=1001",
        "cursor=x",
        "cursor=%00",
        "q=%00",
        "q=%FF",
    ):
        yield Wrong("parameter", 422, "GET", f"/records?{query}", None, BEARER)
    for query in ("width=15", "width=4097", "height=x", "height=1025", "width=%FF"):
        yield Wrong("parameter", 422, "GET", f"/record/waveform?RECORD&{query}")
    for method, path in [("GET", "/records"), ("GET", "/record"), ("POST", "/record")]:
        body = take(0.1) if method == "POST" else None
        long = f"{path}?x={'y' * 8200}"
        yield Wrong("a long query", 400, method, long, body, BEARER)


def wrong_uploads() -> Iterator[Wrong]:
    whole = take(0.1)
    for path in UPLOADS:
        for what, status, body, headers in [
            ("empty", 422, b"", {}),
            ("text", 415, b"no sound at all", {}),
            ("a playlist", 415, b"#EXTM3U\nfile:///etc/passwd\n", {}),
            ("an MP3", 415, b"\xff\xfb\x90\x64" + bytes(500), {}),
            ("no sound", 422, wav(b""), {}),
            ("cut short", 422, whole[:-100], {}),
            ("a header alone", 422, whole[:30], {}),
            ("more than declared", 422, wav(tone(100), data_size=200), {}),
            ("too large", 413, take(0.5), {}),
            ("over the quota", 413, take(0.33), {}),
            ("compressed", 415, whole, {"Content-Encoding": "gzip"}),
            ("expecting too much", 417, whole, {"Expect": "200-maybe"}),
            ("no form", 400, whole, {"Content-Type": "multipart/form-data; boundary=b"}),
            ("no boundary", 400, whole, {"Content-Type": "multipart/form-data"}),
            ("a bad key", 400, whole, {"Idempotency-Key": "x" * 256}),
            ("a bad digest", 400, whole, {"Content-Digest": "sha-256=x"}),
            ("a wrong digest", 422, whole, {"Content-Digest": "sha-256=:AAAA:"}),
        ]:
            yield Wrong(what, status, "POST", path, body, {**BEARER, **headers})
        for what, status, fields, file, name in [
            ("a form with text", 415, {}, b"no sound at all", "x.wav"),
            ("a form without file", 400, {"note": "x"}, None, ""),
            ("a form with a bad name", 422, {}, whole, "x" * 251),
            ("a form for nobody", 404, {"user_id": MISSING}, whole, "x"),
            ("a form with a taken name", 409, {}, whole, "taken"),
        ]:
            kind, body = form(fields, file, name)
            yield Wrong(what, status, "POST", path, body, {**BEARER, "Content-Type": kind})
        kind, body = form({}, whole)
        late = form({"user_id": "ME", "token": "TOKEN"}, None)[1]
        for what, changed in {
            "many fields": form({str(number): "x" for number in range(40)}, whole)[1],
            "large fields": form({str(number): "x" * 15_000 for number in range(5)}, whole)[1],
            "a large field": form({"note": "x" * 17_000}, whole)[1],
            "many headers": body.replace(b"Content-Type", b"X: y\r\n" * 8 + b"Content-Type"),
            "a long header": body.replace(b"audio/wav", b"x" * 5000),
            "much before the form": bytes(70_000) + b"\r\n" + body,
            "much after the form": body + bytes(70_000),
            "deep data": form({"data": "[" * 8000 + "]" * 8000}, whole)[1],
        }.items():
            about = {} if what == "deep data" else BEARER
            yield Wrong(what, 400, "POST", path, changed, {**about, "Content-Type": kind})
        both = body.removesuffix(b"--b0und--\r\n") + late
        content_type = {"Content-Type": kind}
        yield Wrong("credentials after the file", 400, "POST", path, both, content_type)
        yield Wrong("a form without credentials", 401, "POST", path, body, content_type)
        yield Wrong("name taken", 409, "POST", f"{path}?name=taken", whole, BEARER)
        yield Wrong("bad name", 422, "POST", f"{path}?name=a%00b", whole, BEARER)
        yield Wrong("bad name", 422, "POST", f"{path}?name={'x' * 251}", whole, BEARER)
    yield Wrong("bad name", 422, "PUT", "/record/%FF.wav", whole, BEARER)
    yield Wrong("name taken", 409, "PUT", "/record/taken", whole, BEARER)


def wrong_resumable_uploads() -> Iterator[Wrong]:
    whole = take(0.1)
    tus = {"Tus-Resumable": "1.0.0"}
    begun = {**tus, **BEARER, "Upload-Length": str(len(whole))}
    piece = {"Content-Type": "application/offset+octet-stream"}
    wrong_sum = {"Upload-Checksum": f"sha1 {base64.b64encode(bytes(20)).decode()}"}
    taken, foreign = (
        {"Upload-Metadata": f"{key} {base64.b64encode(text.encode()).decode()}"}
        for key, text in (("filename", "taken"), ("user_id", MISSING))
    )
    for what, status, headers in [
        ("no length", 400, {**tus, **BEARER}),
        ("no token", 401, {**tus, "Upload-Length": "1000"}),
        ("an unknown library", 404, {**begun, **foreign}),
        ("name taken", 409, {**begun, **taken}),
        ("no version", 412, {**BEARER, "Upload-Length": "1000"}),
        ("too large", 413, {**begun, "Upload-Length": str(10**15)}),
        ("empty", 422, {**begun, "Upload-Length": "0"}),
        ("compressed", 415, {**begun, "Content-Encoding": "gzip"}),
    ]:
        yield Wrong(what, status, "POST", "/uploads", b"", headers)
    yield Wrong("a piece of another kind", 415, "POST", "/uploads", whole, begun)
    checked = {**begun, **piece, **wrong_sum}
    yield Wrong("a wrong checksum", 460, "POST", "/uploads", whole, checked)
    for method, override in (
        ("PATCH", {}),
        ("POST", {"X-HTTP-Method-Override": "PATCH"}),
    ):
        first = {**tus, **override, **piece, "Upload-Offset": "0"}
        for what, status, path, headers in [
            ("no offset", 400, "UPLOAD", {**tus, **override, **piece}),
            ("no such upload", 404, MISSING, first),
            ("no UUID", 404, "7", first),
            ("a wrong offset", 409, "UPLOAD", {**first, "Upload-Offset": "5"}),
            ("at its end", 410, "GONE", first),
            ("no version", 412, "UPLOAD", {**override, **piece, "Upload-Offset": "0"}),
            ("more than announced", 413, "SHORT", first),
            ("another kind", 415, "UPLOAD", {**first, "Content-Type": "audio/wav"}),
            ("a wrong checksum", 460, "UPLOAD", {**first, **wrong_sum}),
        ]:
            yield Wrong(what, status, method, f"/uploads/{path}", whole, headers)
        yield Wrong("half a WAV", 422, method, f"/uploads/HALF{method}", whole[:30], first)
    yield Wrong("not by POST", 405, "POST", "/uploads/UPLOAD", b"", tus)
    for method in ("GET", "DELETE"):
        packed = {**tus, "Content-Encoding": "gzip"}
        yield Wrong("compressed", 415, method, "/uploads/UPLOAD", None, packed)
        yield Wrong("no such upload", 404, method, f"/uploads/{MISSING}", None, tus)
        yield Wrong("at its end", 410, method, "/uploads/GONE", None, tus)
    yield Wrong("no version", 412, "DELETE", "/uploads/UPLOAD")
    for path in ("/uploads", "/uploads/UPLOAD"):
        yield Wrong("compressed", 415, "OPTIONS", path, None, {"Content-Encoding": "gzip"})


CASES = [
    *wrong_resumable_uploads(),
    *wrong_credentials(),
    *wrong_methods(),
    *wrong_paths(),
    *wrong_records(),
    *wrong_json(),
    *wrong_queries(),
    *wrong_uploads(),
]


class TestTheMatrix:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"max_upload_bytes": LIMIT, "user_quota_bytes": QUOTA}

    def test_it_has_more_than_two_hundred_cases(self) -> None:
        assert len(set(map(repr, CASES))) == len(CASES) > 400

    @both_ways
    @pytest.mark.gen_test(timeout=120)
    async def test_each_wrong_request_gets_its_problem(
        self, client: Client, services: Services, kept: Kept, via: str
    ) -> None:
        words = await self.inhabit(client)
        faults = []
        for case in CASES:
            if via == "nginx" and "Expect" in case.headers:
                continue  # nginx meets expectations itself and does not pass them on
            fault = await self.try_out(client, case, words)
            if fault:
                faults.append(f"{case.what}: {case.method} {case.path[:80]}: {fault}")
        assert not faults, "\n".join(faults)
        account = as_json(await client.fetch("/user", headers=self.bearer))
        assert account["records"] == 2
        # The record that is looked at has an outline as well, and some uploads wait.
        local = services.media.directory.root.rglob("*.*")
        names = {*kept.names(), *(path.name for path in local if path.is_file())} - {".site"}
        assert {Path(name).suffix for name in names} == {".mp3", ".json", ".png", ".upload"}
        assert len(kept.mp3s()) == 2

    async def inhabit(self, client: Client) -> dict[str, str]:
        me, other = await client.register("me"), await client.register("other")
        self.bearer = me.bearer
        record = as_json(await client.upload(me, take(0.25), name="mine"))
        await client.upload(me, take(0.25), name="taken")
        lengths = {"UPLOAD": len(take(0.1)), "SHORT": 100, "GONE": 100}
        lengths |= {"HALFPATCH": 30, "HALFPOST": 30}
        uploads = {name: await self.begun(client, length) for name, length in lengths.items()}
        tus = {"Tus-Resumable": "1.0.0"}
        await client.fetch(f"/uploads/{uploads['GONE']}", method="DELETE", headers=tus)
        return {
            **uploads,
            "ME": me.id,
            "TOKEN": me.token,
            "OTHER": other.id,
            "STRANGER": other.token,
            "RECORD": f"id={record['id']}&user={me.id}",
            "ID": record["id"],
        }

    async def begun(self, client: Client, length: int) -> str:
        """The id of an upload by tus that waits for its bytes."""
        headers = {**self.bearer, "Tus-Resumable": "1.0.0", "Upload-Length": str(length)}
        reply = await client.fetch("/uploads", method="POST", body=b"", headers=headers)
        return reply.headers["Location"].rpartition("/")[2]

    async def try_out(self, client: Client, case: Wrong, words: dict[str, str]) -> str | None:
        """What is wrong with the reply, if anything."""

        def spelled(text: str) -> str:
            for word in sorted(words, key=len, reverse=True):
                text = text.replace(word, words[word])
            return text

        headers = {name: spelled(value) for name, value in case.headers.items()}
        body = case.body
        if body is not None and b"TOKEN" in body:
            body = spelled(body.decode("latin-1")).encode("latin-1")
        response = await client.fetch(
            spelled(case.path), method=case.method, body=body, headers=headers
        )
        if response.code != case.status:
            return f"{response.code} instead of {case.status}: {response.body!r}"
        if response.headers.get("Content-Type") != "application/problem+json":
            return f"Content-Type {response.headers.get('Content-Type')}"
        problem = as_json(response)
        if problem["status"] != case.status or not problem["detail"] or not problem["title"]:
            return f"not a whole problem: {problem}"
        page = await client.fetch(problem["type"])
        if page.code != 200:
            return f"its type {problem['type']} has no page"
        needed = {401: "WWW-Authenticate", 405: "Allow", 416: "Content-Range"}.get(case.status)
        return f"{needed} is missing" if needed and needed not in response.headers else None
