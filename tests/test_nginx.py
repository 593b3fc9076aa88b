"""nginx's own part: what it keeps out of the log and out of reach."""

import asyncio
from pathlib import Path

import pytest

from tests.client import Client, as_json
from tests.conftest import wait_for
from tests.wavs import take

pytestmark = pytest.mark.parametrize("via", ["nginx"], indirect=True)


@pytest.mark.gen_test
async def test_neither_links_nor_tokens_are_in_its_logs(client: Client, tmp_path: Path) -> None:
    user = await client.register()
    query = f"user_id={user.id}&token={user.token}"
    receipt = as_json(await client.upload(None, take(0.1), path=f"/record?{query}"))
    assert (await client.fetch(receipt["link"])).code == 200
    log = tmp_path / "nginx" / "access.log"
    await wait_for(lambda: log.read_text().count("\n") >= 3)
    for secret in (user.token, user.id, receipt["id"], "?"):
        for file in (tmp_path / "nginx").glob("*.log"):
            assert secret not in file.read_text()
    assert '"GET /record HTTP/1.1" 200' in log.read_text()


@pytest.mark.gen_test
async def test_the_media_directory_is_not_reachable_from_outside(
    client: Client, media_dir: Path
) -> None:
    user = await client.register()
    await client.upload(user, take(0.1))
    path = next(media_dir.rglob("*.mp3")).relative_to(media_dir)
    assert (await client.fetch(f"/_media/{path}")).code == 404


@pytest.mark.gen_test
async def test_umusic_being_away_is_a_503_problem_with_retry_after(
    client: Client, http_server: object
) -> None:
    http_server.stop()  # type: ignore[attr-defined]
    await asyncio.sleep(0.05)
    response = await client.fetch("/healthz")
    assert response.code == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "Retry-After" in response.headers
