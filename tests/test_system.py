"""/healthz, /readyz, /problems/…, and what is answered where there is nothing."""

from pathlib import Path

import pytest

from tests.client import Client, as_json, both_ways
from umusic.app import Services
from umusic.web.errors import problem_types


@both_ways
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz/"])
@pytest.mark.gen_test
async def test_a_running_umusic_is_alive_and_ready(client: Client, path: str) -> None:
    assert (await client.fetch(path)).code == 200
    assert (await client.fetch(path, method="HEAD")).code == 200


@pytest.mark.expects_log("media-away")
@pytest.mark.gen_test
async def test_without_its_media_directory_it_is_alive_but_not_ready(
    client: Client, media_dir: Path
) -> None:
    elsewhere = media_dir.rename(media_dir.with_name("elsewhere"))
    response = await client.fetch("/readyz")
    assert response.code == 503
    assert "Retry-After" in response.headers
    assert (await client.fetch("/healthz")).code == 200
    elsewhere.rename(media_dir)


@pytest.mark.gen_test
async def test_while_draining_it_is_not_ready_and_takes_no_uploads(
    client: Client, services: Services
) -> None:
    user = await client.register()
    services.lifecycle.draining = True
    services.keeper.drain()
    response = await client.fetch("/readyz")
    assert response.code == 503
    assert response.headers["Connection"] == "close"
    upload = await client.upload(user, b"x" * 100)
    assert (upload.code, as_json(upload)["type"]) == (503, "/problems/draining")


@both_ways
@pytest.mark.parametrize("path", ["/nothing", "/record/a/b", "/users/../etc", "/%00"])
@pytest.mark.gen_test
async def test_where_there_is_nothing_a_problem_says_so(client: Client, path: str) -> None:
    response = await client.fetch(path)
    assert response.code in (400, 404)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert as_json(response)["status"] == response.code


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("OPTIONS", "/record", "DELETE, GET, HEAD, PATCH, POST, PUT"),
        ("PUT", "/user", "DELETE, GET, HEAD, POST"),
        ("GET", "/users", "POST"),
        ("DELETE", "/record/info", "GET, HEAD, PUT"),
        ("POST", "/healthz", "GET, HEAD"),
        ("GET", "/record/take.wav", "PUT"),
        ("BREW", "/record", "DELETE, GET, HEAD, PATCH, POST, PUT"),
    ],
)
@pytest.mark.gen_test
async def test_a_wrong_method_is_405_with_allow(
    client: Client, method: str, path: str, allow: str
) -> None:
    response = await client.fetch(path, method=method)
    assert response.code == 405
    assert response.headers["Allow"] == allow
    assert as_json(response)["type"] == "/problems/method-not-allowed"


@pytest.mark.gen_test
async def test_every_problem_type_has_a_page(client: Client) -> None:
    for code in problem_types():
        response = await client.fetch(f"/problems/{code}")
        assert response.code == 200
        assert code in response.body.decode()
    assert (await client.fetch("/problems/none")).code == 404
