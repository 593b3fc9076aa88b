"""/docs: the page that shows the description, and the files that it is made of.

`tests/browser` has a browser show it.
"""

import re

import pytest

from tests.client import Client, as_json, both_ways
from umusic.web.pages import STATIC, page_files

FILES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "docs.css": "text/css; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
    "swagger-ui-bundle.js.LICENSE.txt": "text/plain; charset=utf-8",
}


@both_ways
@pytest.mark.parametrize("path", ["/docs", "/docs/", "/docs/index.html"])
@pytest.mark.gen_test
async def test_the_page_loads_nothing_but_files_of_its_own(client: Client, path: str) -> None:
    response = await client.fetch(path)
    assert response.code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    page = response.body.decode()
    wanted = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert wanted
    for path in wanted:
        assert path.startswith("/"), path
        assert (await client.fetch(path)).code == 200
    assert "<script>" not in page and "style=" not in page


@both_ways
@pytest.mark.gen_test
async def test_its_policy_lets_it_do_nothing_else(client: Client) -> None:
    headers = (await client.fetch("/docs")).headers
    # Once each: nginx has what umusic has, and does not say it again.
    [policy] = headers.get_list("Content-Security-Policy")
    told = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert told == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers.get_list("Referrer-Policy") == ["no-referrer"]
    assert headers.get_list("X-Content-Type-Options") == ["nosniff"]


@both_ways
@pytest.mark.parametrize("name", FILES)
@pytest.mark.gen_test
async def test_a_file_comes_whole_and_once(client: Client, name: str) -> None:
    response = await client.fetch(f"/docs/{name}")
    assert response.code == 200
    assert response.headers["Content-Type"] == FILES[name]
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.body == (STATIC / "docs" / name).read_bytes()
    known = {"If-None-Match": response.headers["Etag"]}
    again = await client.fetch(f"/docs/{name}", headers=known)
    assert (again.code, again.body) == (304, b"")
    head = await client.fetch(f"/docs/{name}", method="HEAD")
    assert head.headers["Content-Length"] == str(len(response.body))


@both_ways
@pytest.mark.parametrize(
    "path",
    ["/docs/none.js", "/docs/..", "/docs/%2e%2e", "/docs/README.md", "/docs/LICENSE"],
)
@pytest.mark.gen_test
async def test_nothing_else_is_there(client: Client, path: str) -> None:
    response = await client.fetch(path)
    assert response.code == 404
    assert as_json(response)["type"] == "/problems/path-not-found"


def test_what_is_vendored_is_what_it_says() -> None:
    """A change of these files is to be a change of version."""
    readme = (STATIC / "docs" / "README.md").read_text()
    assert re.search(r"`swagger-ui-dist` \d+\.\d+\.\d+ ", readme)
    assert sum(len(file.body) for file in page_files("docs").values()) < 2_000_000
