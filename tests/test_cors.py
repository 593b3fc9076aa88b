"""CORS: which other sites' pages may ask umusic from a browser."""

import json
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from tests.client import Client, as_json, both_ways
from tests.services import MISSING
from tests.test_server import run_serve
from tests.tus import Tus
from tests.wavs import take
from umusic.settings import Settings

PAGE, OTHER, EVIL = "https://page.example", "http://localhost:3000", "https://evil.example"
FROM_PAGE = {"Origin": PAGE}
TUS_SENDS = {
    *("Authorization", "Content-Type", "Tus-Resumable", "X-HTTP-Method-Override"),
    *("Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Defer-Length"),
    *("Upload-Checksum", "Upload-Concat"),
}
TUS_READS = {
    *("Location", "Content-Location", "Tus-Resumable", "Tus-Version", "Tus-Extension"),
    *("Tus-Max-Size", "Tus-Checksum-Algorithm", "Upload-Offset", "Upload-Length"),
    *("Upload-Metadata", "Upload-Defer-Length", "Upload-Expires"),
}


def preflight(method: str, origin: str = PAGE) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }


def cors_of(response: HTTPResponse) -> dict[str, list[str]]:
    """The headers of the protocol, each as often as it is there."""
    names = {name for name in response.headers if name.startswith("Access-Control-")} | {"Vary"}
    found = {name: response.headers.get_list(name) for name in names}
    return {name: values for name, values in found.items() if values}


def assert_readable(response: HTTPResponse, origin: str = PAGE) -> None:
    found = cors_of(response)
    assert found.keys() == {"Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Vary"}
    assert found["Access-Control-Allow-Origin"] == [origin]
    assert found["Vary"] == ["Origin"]
    [exposed] = found["Access-Control-Expose-Headers"]
    for name in ("Location", "Link", "ETag", "Retry-After", "Content-Range", "X-Request-ID"):
        assert name in exposed.split(", ")
    assert len(response.headers.get_list("X-Request-ID")) == 1


def headers_allowed(response: HTTPResponse, methods: str) -> set[str]:
    """The headers that a page may send, by the answer to its preflight, with these methods."""
    assert (response.code, response.body) == (204, b"")
    headers = response.headers
    assert headers.get_list("Access-Control-Allow-Origin") == [PAGE]
    assert headers.get_list("Access-Control-Allow-Methods") == [methods]
    return set(headers["Access-Control-Allow-Headers"].split(", "))


async def one_of_each(client: Client, headers: dict[str, str]) -> list[HTTPResponse]:
    """Answers of all kinds."""
    user = await client.register()
    upload = await client.upload(user, take(0.1), headers=headers)
    link = as_json(upload)["link"]
    query = link.partition("?")[2]
    known = {"If-None-Match": (await client.fetch(link)).headers["Etag"]}
    fetched = [
        (link, {}),
        (link, {"Range": "bytes=0-9"}),
        (link, known),
        (link, {"Range": "bytes=99999999-"}),
        (link, {"If-Match": '"other"'}),
        (f"/record/peaks?{query}", {}),
        (f"/record/waveform?{query}", {}),
        (f"/record/waveform?{query}", {"Range": "bytes=99999999-"}),
        (f"/record/info?{query}", {}),
        ("/records", user.bearer),
        ("/user", {}),
        ("/record?id=1&user=2", {}),
        (f"/record?id={user.id}&user={user.id}", {}),
        ("/record", {}),
        ("/nowhere", {}),
    ]
    answers = [await client.fetch(path, headers={**more, **headers}) for path, more in fetched]
    statuses = [answer.code for answer in answers]
    assert statuses == [200, 206, 304, 416, 412, 200, 200, 416, 200, 200, 401, 404, 404, 422, 404]
    refused = [
        await client.upload(user, b"no WAV" * 1000, headers=headers),
        await client.upload(None, take(0.1), headers=headers),
        await client.fetch("/record", method="OPTIONS", headers=headers),
        await client.fetch(link, method="DELETE", headers={**user.bearer, **headers}),
    ]
    assert [answer.code for answer in refused] == [415, 401, 405, 204]
    return [upload, *answers, *refused]


class TestAllowedOrigins:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"cors_origins": f"{PAGE}/, {OTHER}"}

    @both_ways
    @pytest.mark.gen_test
    async def test_every_answer_may_be_read_refusals_as_well(self, client: Client) -> None:
        for answer in await one_of_each(client, FROM_PAGE):
            assert_readable(answer)

    @both_ways
    @pytest.mark.parametrize("origin", [None, EVIL, "null", f"{PAGE}.evil.example", f"{PAGE}:8443"])
    @pytest.mark.gen_test
    async def test_others_get_no_header_of_it(self, client: Client, origin: str | None) -> None:
        for answer in await one_of_each(client, {"Origin": origin} if origin else {}):
            assert cors_of(answer) == {}

    @both_ways
    @pytest.mark.parametrize(
        ("path", "method", "methods"),
        [
            ("/record", "POST", "DELETE, GET, HEAD, PATCH, POST, PUT"),
            ("/record/", "PATCH", "DELETE, GET, HEAD, PATCH, POST, PUT"),
            ("/record/take.wav", "PUT", "PUT"),
            ("/record/peaks?id=1&user=2", "GET", "GET, HEAD, PUT"),
            ("/records", "GET", "GET, HEAD"),
            ("/user", "DELETE", "DELETE, GET, HEAD, POST"),
            ("/users", "POST", "POST"),
        ],
    )
    @pytest.mark.gen_test
    async def test_a_browser_that_asks_beforehand_hears_what_the_path_takes(
        self, client: Client, path: str, method: str, methods: str
    ) -> None:
        response = await client.fetch(path, method="OPTIONS", headers=preflight(method))
        allowed = headers_allowed(response, methods)
        assert response.headers.get_list("Access-Control-Max-Age") == ["7200"]
        assert {"Authorization", "Content-Type", "Idempotency-Key", "Range"} < allowed
        assert "Access-Control-Allow-Credentials" not in response.headers

    @both_ways
    @pytest.mark.gen_test
    async def test_one_that_may_not_gets_405_as_ever(self, client: Client) -> None:
        response = await client.fetch("/record", method="OPTIONS", headers=preflight("POST", EVIL))
        assert response.code == 405
        assert "Allow" in response.headers
        assert cors_of(response) == {}

    @pytest.mark.parametrize("via", ["nginx"], indirect=True)
    @pytest.mark.gen_test
    async def test_what_nginx_remembers_for_one_origin_is_not_told_to_another(
        self, client: Client
    ) -> None:
        link = as_json(await client.upload(await client.register(), take(0.1)))["link"]
        for _ in range(2):
            for origin in (PAGE, OTHER):
                assert_readable(await client.fetch(link, headers={"Origin": origin}), origin)
            for headers in ({}, {"Origin": EVIL}):
                assert cors_of(await client.fetch(link, headers=headers)) == {}

    @both_ways
    @pytest.mark.parametrize(
        ("path", "method", "methods"),
        [
            ("/uploads", "POST", "OPTIONS, POST"),
            ("/uploads/", "POST", "OPTIONS, POST"),
            (f"/uploads/{MISSING}", "PATCH", "DELETE, GET, HEAD, OPTIONS, PATCH, POST"),
            (f"/uploads/{MISSING}", "DELETE", "DELETE, GET, HEAD, OPTIONS, PATCH, POST"),
        ],
    )
    @pytest.mark.gen_test
    async def test_a_client_of_tus_hears_that_it_may_go_on(
        self, client: Client, path: str, method: str, methods: str
    ) -> None:
        response = await client.fetch(path, method="OPTIONS", headers=preflight(method))
        assert headers_allowed(response, methods) >= TUS_SENDS
        assert response.headers.get_list("Tus-Version") == ["1.0.0"]
        other = await client.fetch(path, method="OPTIONS", headers=preflight(method, EVIL))
        assert (other.code, cors_of(other)) == (204, {})

    @both_ways
    @pytest.mark.gen_test
    async def test_a_client_of_tus_may_read_its_answers(self, client: Client) -> None:
        tus, wav = Tus(client, await client.register()), take(0.1)
        created = await tus.create(len(wav), **FROM_PAGE)
        url = created.headers["Location"]
        answers = [
            created,
            await tus.ask("OPTIONS", url, FROM_PAGE),
            await tus.ask("HEAD", url, FROM_PAGE),
            await tus.patch(url, 5, wav, FROM_PAGE),
            await tus.patch(url, 0, wav, FROM_PAGE),
            await tus.ask("GET", url, FROM_PAGE),
            await tus.ask("DELETE", url, FROM_PAGE),
        ]
        assert [answer.code for answer in answers] == [201, 204, 200, 409, 204, 200, 204]
        for answer in answers:
            assert_readable(answer)
            exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
            assert set(exposed) >= TUS_READS
            assert len(exposed) == len(set(exposed))


class TestAnyOrigin:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"cors_origins": "*"}

    @both_ways
    @pytest.mark.gen_test
    async def test_all_may_read_all(self, client: Client) -> None:
        for answer in await one_of_each(client, {"Origin": EVIL}):
            assert_readable(answer, "*")
        response = await client.fetch("/user", method="OPTIONS", headers=preflight("POST", EVIL))
        assert (response.code, response.headers["Access-Control-Allow-Origin"]) == (204, "*")


@both_ways
@pytest.mark.gen_test
async def test_it_is_off_unless_set(client: Client) -> None:
    for answer in await one_of_each(client, FROM_PAGE):
        assert cors_of(answer) == {}
    response = await client.fetch("/record", method="OPTIONS", headers=preflight("POST"))
    assert response.code == 405
    assert json.loads(response.body)["type"] == "/problems/method-not-allowed"
    assert cors_of(response) == {}


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ("https://A.example.org", ("https://a.example.org",)),
        ("https://a:443 http://a:80,http://a:8080", ("https://a", "http://a", "http://a:8080")),
        ("http://[::1]:3000/", ("http://[::1]:3000",)),
        ("*", ("*",)),
        ("", ()),
    ],
)
def test_origins_are_read_as_browsers_write_them(told: str, read: tuple[str, ...]) -> None:
    made = Settings(_env_file=None, cors_origins=told)  # type: ignore[call-arg, arg-type]
    assert made.cors_origins == read


@pytest.mark.parametrize(
    "wrong",
    [
        *("page.example", "https://page.example/path", "https://u:p@page.example", "null"),
        *("ftp://page.example", "https://*.example", "https://page.example:99999", "https://"),
        *("https://page.example:", "https://page.example?x"),
    ],
)
def test_a_wrong_origin_is_told(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"scheme://host\[:port\]"):
        Settings(_env_file=None, cors_origins=f"https://a.example, {wrong}")  # type: ignore[call-arg, arg-type]


def test_a_wrong_origin_stops_the_start_with_a_sentence(directory: Any) -> None:
    status, errors = run_serve(directory, PORT="0", CORS_ORIGINS="page.example")
    assert status == 1
    assert "UMUSIC_CORS_ORIGINS" in errors
    assert "https://music.example.org" in errors
    assert "Traceback" not in errors
