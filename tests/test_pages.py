"""The page: what it is sent with, and what it is made of."""

import re

import pytest

from tests.client import Client, as_json, both_ways
from umusic.web.pages import STATIC, page_files

PAGE = STATIC / "page"
SOURCES = {path.name: path.read_text() for path in PAGE.iterdir() if path.suffix != ".svg"}


@both_ways
@pytest.mark.gen_test
async def test_a_browser_gets_the_page_under_a_strict_policy(client: Client) -> None:
    response = await client.fetch("/")
    assert response.code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "media-src 'self'" in policy
    assert "unsafe" not in policy and "*" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    # Nothing in it but words: no style and no script that the policy would have to let in.
    page = response.body.decode()
    assert not re.search(r"<style|\sstyle=|<script(?! type=\"module\" src=)|\son\w+=", page)


@both_ways
@pytest.mark.parametrize("name", sorted(page_files("page")))
@pytest.mark.gen_test
async def test_its_files_are_asked_for_again_and_sent_only_if_they_are_new(
    client: Client, name: str
) -> None:
    first = await client.fetch(f"/static/{name}")
    assert first.code == 200
    assert first.body == (PAGE / name).read_bytes()
    assert first.headers["Cache-Control"] == "no-cache"
    known = {"If-None-Match": first.headers["ETag"]}
    again = await client.fetch(f"/static/{name}", headers=known)
    assert (again.code, again.body) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fdocs%2Findex.html", "index.htm"])
@pytest.mark.gen_test
async def test_other_files_are_not_there(client: Client, name: str) -> None:
    response = await client.fetch(f"/static/{name}")
    assert response.code == 404
    assert as_json(response)["type"] == "/problems/path-not-found"


@pytest.mark.gen_test
async def test_the_page_cannot_be_posted_to(client: Client) -> None:
    response = await client.fetch("/", method="POST", body="x")
    assert response.code == 405
    assert response.headers["Allow"] == "GET, HEAD"


def test_all_that_it_says_is_said_in_both_languages() -> None:
    english, russian = re.findall(
        r"const (?:ENGLISH|RUSSIAN) = \{\n(.*?)\n\};", SOURCES["text.js"], re.DOTALL
    )
    keys = set(re.findall(r"^  (\w+):", english, re.MULTILINE))
    assert keys == set(re.findall(r"^  (\w+):", russian, re.MULTILINE))
    for key in keys:
        places = [
            sorted(set(re.findall(r"\{\w+\}", found[1])))
            for text in (english, russian)
            if (found := re.search(rf'^  {key}: "(.*)",$', text, re.MULTILINE))
        ]
        assert places[:1] == places[1:], key


def test_it_says_nothing_that_has_no_text_and_has_no_text_that_it_never_says() -> None:
    keys = set(re.findall(r"^  (\w+):", SOURCES["text.js"], re.MULTILINE))
    marked = set(re.findall(r'data-t(?:-\w+)?="(\w+)"', SOURCES["index.html"]))
    scripts = "".join(text for name, text in SOURCES.items() if name.endswith(".js"))
    quoted = set(re.findall(r'"(\w+)"', scripts))
    assert marked <= keys
    assert keys <= marked | quoted
    assert set(re.findall(r'\bt\("(\w+)"', scripts)) <= keys


def test_it_asks_nobody_else() -> None:
    found = [re.findall(r"https?://[^\s\"'`]+", text) for text in SOURCES.values()]
    assert {url for urls in found for url in urls} <= {"http://www.w3.org/2000/svg"}
