"""The page in a real browser, through nginx: what a person does with it from the first visit on."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Request, expect

from tests.browser.conftest import Site
from tests.browser.line import Line
from tests.browser.page import Studio
from tests.decoders import decoded_samples
from tests.wavs import take
from umusic.web.pages import page_files

pytestmark = pytest.mark.browser

Visit = Callable[..., Studio]
#: What Chromium itself logs when an answer is no success; what it says is told by the page.
REFUSED = "Failed to load resource: the server responded with a status of "


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "Утро в лесу.wav"
    path.write_bytes(take(12.0))
    return path


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A file that says it is a WAV."""
    path = tmp_path / "notes.wav"
    path.write_text("To whom it may concern. " * 100)
    return path


@pytest.fixture
def long_song(tmp_path: Path) -> Path:
    path = tmp_path / "long.wav"
    path.write_bytes(take(150.0))
    return path


def take_off(errors: list[str], *expected: str) -> None:
    """What was expected of the browser's errors, and has to be there."""
    for each in expected:
        found = [error for error in errors if error.startswith(each)]
        assert found, (each, errors)
        errors.remove(found[0])


def name_of(test: str, width: str) -> str:
    return f"{test} {width} {time.time_ns()}"


def test_a_person_sends_finds_plays_renames_shares_and_deletes(
    visit: Visit, width: str, song: Path, notes: Path, errors: list[str], ffmpeg: Path
) -> None:
    studio = visit(width)
    page = studio.page
    token = studio.register(name_of("Ann", width))
    assert token not in page.url

    studio.choose(song, notes)
    expect(studio.upload(song.name)).to_have_attribute("data-state", "done", timeout=30_000)
    refused = studio.upload(notes.name)
    expect(refused).to_have_attribute("data-state", "failed")
    expect(refused).to_contain_text("The body is not a WAV: it begins with 'To w', not with RIFF.")
    take_off(errors, f"{REFUSED}415")
    expect(studio.records).to_have_count(1)
    expect(
        page.get_by_role("status").filter(has_text=f"{song.name}: Done: 0:12, ")
    ).to_be_attached()
    expect(page.locator("#usage")).to_contain_text("1 recording, 0:12, ")

    page.locator("#search").fill("УТРО")
    expect(studio.records).to_have_count(1)
    page.locator("#search").fill("evening")
    expect(studio.records).to_have_count(0)
    expect(page.locator("#nothing")).to_have_text("No name holds “evening”.")
    page.locator("#search").fill("")
    expect(studio.records).to_have_count(1)

    record = studio.record(song.name)
    record.locator(".play").click()
    expect(page.locator("#player")).to_be_visible()
    box = page.locator("#seek").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert 5.5 < studio.played() < 7
    page.wait_for_timeout(1000)
    assert 6.2 < studio.played() < 9
    expect(record.locator(".play")).to_have_attribute("aria-label", f"Pause {song.name}")
    page.locator("#player-toggle").click()
    expect(record.locator(".play")).to_have_attribute("aria-label", f"Play {song.name}")

    record.locator(".edit").click()
    page.keyboard.type("Morning")
    page.keyboard.press("Enter")
    record = studio.record("Morning")
    expect(record).to_be_visible()
    expect(page.locator("#player-name")).to_have_text("Morning")

    record.locator(".copy").click()
    expect(page.locator("#notice")).to_have_text("Copied.")
    link = studio.copied()
    assert link.startswith(f"{studio.url}/record?id=")
    assert token not in link

    with page.expect_download() as download:
        record.locator(".download").click()
    mp3 = Path(download.value.path())
    info = httpx.get(link.replace("/record?", "/record/info?")).json()
    assert hashlib.sha256(mp3.read_bytes()).hexdigest() == info["sha256"]
    decoded = decoded_samples(mp3, ffmpeg, info["channels"])
    assert set(decoded.values()) == {info["samples"]} == {12 * 44_100}

    page.reload()
    record = studio.record("Morning")
    expect(record).to_be_visible()
    record.locator(".remove").click()
    studio.confirm()
    expect(studio.records).to_have_count(0)
    page.reload()
    expect(page.locator("#nothing")).to_have_text("Nothing here yet. Drop a WAV above.")
    # nginx may remember for a second where the file is, and keep it open for another.
    end = time.monotonic() + 2
    while (status := httpx.get(link).status_code) != 404:
        assert time.monotonic() < end, status


def test_an_upload_says_how_far_it_is_and_how_fast(visit: Visit, long_song: Path) -> None:
    studio = visit()
    studio.register(name_of("Bar", "wide"))
    studio.slow_down(10_000_000)
    studio.choose(long_song)
    row = studio.upload(long_song.name)
    seen: list[float] = []
    texts: list[str] = []
    while row.get_attribute("data-state") != "done":
        seen.append(float(row.locator("progress").evaluate("bar => bar.value")))
        texts.append(row.locator(".state").inner_text())
        studio.page.wait_for_timeout(100)
    assert seen == sorted(seen)
    assert len(set(seen)) > 4
    assert any("MB/s" in text and " left" in text for text in texts), texts


def begun(studio: Studio, file: Path) -> Locator:
    """The row of an upload that is on its way, slowly."""
    studio.slow_down(5_000_000)
    studio.choose(file)
    row = studio.upload(file.name)
    expect(row.locator(".state")).to_contain_text("MB of ")
    return row


def test_a_cancelled_upload_leaves_nothing_and_can_be_sent_again(
    visit: Visit, site: Site, long_song: Path
) -> None:
    studio = visit()
    studio.register(name_of("Cancel", "wide"))
    row = begun(studio, long_song)
    row.locator(".cancel").click()
    expect(row).to_have_attribute("data-state", "cancelled")
    studio.slow_down(-1)
    row.locator(".retry").click()
    expect(row).to_have_attribute("data-state", "done", timeout=30_000)
    expect(studio.records).to_have_count(1)


def offsets_sent(studio: Studio) -> list[int]:
    """Where each further piece of an upload begins, as they are sent."""
    offsets: list[int] = []

    def look(request: Request) -> None:
        if request.method == "PATCH":
            offsets.append(int(request.headers["upload-offset"]))

    studio.page.on("request", look)
    return offsets


def test_an_upload_goes_on_by_itself_when_the_line_has_broken(
    visit: Visit, site: Site, long_song: Path, errors: list[str]
) -> None:
    with Line(site.url).running() as line:
        studio = visit(url=line.url)
        studio.register(name_of("Broken", "wide"))
        offsets = offsets_sent(studio)
        row = begun(studio, long_song)
        for _ in range(4):
            studio.page.wait_for_timeout(700)
            line.cut()
        studio.slow_down(-1)
        expect(row).to_have_attribute("data-state", "done", timeout=30_000)
        expect(studio.records).to_have_count(1)
    assert len(offsets) > 2 and offsets == sorted(offsets) and offsets[-1] > 1_000_000
    # Of the breaks, and of what Chromium sent again by itself from where it had begun.
    while errors:
        take_off(errors, "Failed to load resource: ")


def test_while_the_line_is_broken_it_says_so_and_one_click_tries_at_once(
    visit: Visit, site: Site, long_song: Path, errors: list[str]
) -> None:
    studio = visit()
    studio.register(name_of("Away", "narrow"))
    row = begun(studio, long_song)
    studio.page.wait_for_timeout(1000)
    site.kill()
    expect(row.locator(".state")).to_contain_text("The connection broke at ")
    studio.page.wait_for_timeout(4000)
    site.restart()
    row.locator(".retry").click()
    expect(row.locator(".state")).to_contain_text("MB of ")
    expect(row.locator(".retry")).to_be_hidden()
    studio.slow_down(-1)
    expect(row).to_have_attribute("data-state", "done", timeout=30_000)
    expect(studio.records).to_have_count(1)
    while errors:
        take_off(errors, "Failed to load resource: ")


def test_an_upload_goes_on_after_a_reload_when_the_file_is_chosen_again(
    visit: Visit, site: Site, long_song: Path
) -> None:
    studio = visit()
    studio.register(name_of("Reload", "wide"))
    begun(studio, long_song)
    studio.page.wait_for_timeout(2000)
    studio.page.on("dialog", lambda dialog: dialog.accept())
    studio.page.reload()
    offsets = offsets_sent(studio)
    studio.slow_down(-1)
    studio.send(long_song)
    assert offsets and offsets[0] > 1_000_000
    expect(studio.records).to_have_count(1)
    assert studio.page.evaluate("localStorage.getItem('umusic.uploads')") == "{}"


def test_a_server_that_is_away_is_told_of_and_asked_again_with_one_click(
    visit: Visit, site: Site, errors: list[str]
) -> None:
    studio = visit()
    studio.register(name_of("Away", "wide"))
    site.kill()
    studio.page.locator("#search").fill("x")
    error = studio.page.locator("#library-error")
    expect(error).to_contain_text("umusic cannot do this at the moment.")
    site.restart()
    error.locator("button").click()
    expect(error).to_be_hidden()
    expect(studio.page.locator("#nothing")).to_have_text("No name holds “x”.")
    while errors:
        take_off(errors, f"{REFUSED}503")


def test_a_name_that_is_taken_can_be_kept_apart_with_one_click(
    visit: Visit, song: Path, errors: list[str]
) -> None:
    studio = visit()
    studio.register(name_of("Twice", "wide"))
    studio.send(song)
    studio.page.locator("#sending-clear").click()
    studio.choose(song)
    row = studio.upload(song.name)
    expect(row).to_contain_text("This library holds a record of this name already.")
    take_off(errors, f"{REFUSED}409")
    row.get_by_role("button", name="Send as “Утро в лесу (2).wav”").click()
    expect(studio.upload("Утро в лесу (2).wav")).to_have_attribute("data-state", "done")
    expect(studio.records).to_have_count(2)


def test_renaming_to_a_name_that_is_taken_says_so_and_escape_ends_it(
    visit: Visit, song: Path, wav: Path, errors: list[str]
) -> None:
    studio = visit()
    studio.register(name_of("Rename", "wide"))
    studio.send(song, wav)
    row = studio.record(wav.name)
    row.locator(".edit").click()
    studio.page.keyboard.type(song.name)
    studio.page.keyboard.press("Enter")
    form = studio.page.locator(".record", has=studio.page.locator("form.rename:visible"))
    expect(form.locator(".error")).to_contain_text("holds a record of this name already")
    take_off(errors, f"{REFUSED}409")
    studio.page.keyboard.press("Escape")
    expect(studio.record(wav.name)).to_be_visible()
    expect(studio.record(wav.name).locator(".error")).to_be_hidden()


def test_names_are_shown_as_text_whatever_they_hold(visit: Visit, wav: Path) -> None:
    studio = visit()
    studio.register(name_of("<b>Bold</b>", "wide"))
    evil = wav.rename(wav.with_name("<img src=x onerror=alert(1)>&amp;.wav"))
    studio.send(evil)
    expect(studio.record(evil.name)).to_be_visible()
    studio.record(evil.name).locator(".play").click()
    expect(studio.page.locator("#player-name")).to_have_text(evil.name)
    assert studio.page.locator("img").count() == 0


def test_a_token_opens_the_library_elsewhere_and_can_be_changed_and_forgotten(
    visit: Visit, wav: Path, errors: list[str]
) -> None:
    here, there = visit(), visit()
    old = here.register(name_of("Token", "wide"))
    here.send(wav)
    there.enter(f" {old} ")
    expect(there.record(wav.name)).to_be_visible()

    here.page.locator("#account-open").click()
    here.page.locator("#token-renew").click()
    expect(here.page.locator("#notice")).to_contain_text("There is a new token")
    here.page.locator("#token-copy").click()
    new = here.copied()
    assert new == here.token() != old

    there.page.locator("#search").fill("take")
    expect(there.page.locator("#welcome-error")).to_contain_text("not valid any more")
    assert there.page.evaluate("localStorage.length") == 0
    take_off(errors, f"{REFUSED}401")

    here.page.locator("#token-forget").click()
    here.confirm()
    expect(here.page.locator("#welcome")).to_be_visible()
    assert here.page.evaluate("localStorage.length") == 0
    here.enter(new)
    expect(here.record(wav.name)).to_be_visible()


def test_what_is_no_token_is_refused_in_words(visit: Visit, errors: list[str]) -> None:
    studio = visit()
    for wrong in ("ключ", "12345"):
        studio.enter(wrong)
        expect(studio.page.locator("#welcome-error")).to_contain_text("token")
    take_off(errors, f"{REFUSED}401")


def test_a_deleted_account_is_gone(visit: Visit, wav: Path, errors: list[str]) -> None:
    studio = visit()
    token = studio.register(name_of("Gone", "wide"))
    studio.send(wav)
    studio.page.locator("#account-open").click()
    studio.page.locator("#account-delete").click()
    studio.confirm()
    expect(studio.page.locator("#welcome")).to_be_visible()
    studio.enter(token)
    expect(studio.page.locator("#welcome-error")).to_contain_text("not known here")
    take_off(errors, f"{REFUSED}401")


def test_it_speaks_russian_to_those_who_do(visit: Visit, wav: Path) -> None:
    studio = visit(locale="ru-RU", width="narrow", scheme="dark")
    studio.register(name_of("Мария", "narrow"))
    expect(studio.page.locator("#nothing")).to_have_text("Здесь пока пусто. Перетащите WAV наверх.")
    studio.send(wav)
    expect(studio.page.locator("#usage")).to_contain_text("1 запись, 0:00")
    assert studio.page.locator("html").get_attribute("lang") == "ru"
    assert studio.page.locator("main").inner_text().count("Recordings") == 0


def test_the_list_goes_on_as_one_scrolls(visit: Visit, site: Site) -> None:
    studio = visit()
    token = studio.register(name_of("Many", "wide"))
    body = take(0.02)
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
        for number in range(70):
            reply = client.put(f"{site.url}/record?name=take-{number}", content=body)
            assert reply.status_code == 201
    studio.page.reload()
    expect(studio.records.first).to_contain_text("take-69")
    assert studio.records.count() == 50
    for _ in range(20):
        studio.page.mouse.wheel(0, 2000)
        studio.page.wait_for_timeout(50)
    expect(studio.records).to_have_count(70)
    expect(studio.records.last).to_contain_text("take-0")
    expect(studio.page.locator("#more")).to_be_hidden()


def test_a_keyboard_is_enough(visit: Visit, song: Path) -> None:
    studio = visit()
    page = studio.page
    page.keyboard.type(name_of("Keys", "wide"))
    page.keyboard.press("Enter")
    expect(page.locator("#studio")).to_be_visible()
    studio.send(song)
    press_until(studio, ".record .play")
    page.keyboard.press("Enter")
    expect(page.locator("#player")).to_be_visible()
    press_until(studio, "#seek")
    before = studio.played()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert studio.played() > before + 0.3
    press_until(studio, ".record .remove", key="Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#confirm")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#confirm")).to_be_hidden()
    expect(studio.record(song.name).locator(".remove")).to_be_focused()
    page.keyboard.press("Enter")
    press_until(studio, "#confirm-yes")
    page.keyboard.press("Enter")
    expect(studio.records).to_have_count(0)


def press_until(studio: Studio, selector: str, key: str = "Tab") -> None:
    """Goes on from control to control until this one is reached."""
    for _ in range(40):
        studio.page.keyboard.press(key)
        if studio.page.evaluate(f"document.activeElement.matches({selector!r})"):
            return
    raise AssertionError(f"{selector} is not reached")


def test_files_that_are_dropped_are_sent(visit: Visit) -> None:
    studio = visit()
    studio.register(name_of("Drop", "wide"))
    wav = list(take(0.2))
    dropped = studio.page.evaluate_handle(
        "bytes => { const data = new DataTransfer();"
        " data.items.add(new File([new Uint8Array(bytes)], 'dropped.wav')); return data; }",
        wav,
    )
    studio.page.dispatch_event("#library-title", "dragover", {"dataTransfer": dropped})
    expect(studio.page.locator(".drop-title")).to_have_text("Let go to send")
    studio.page.dispatch_event("#library-title", "drop", {"dataTransfer": dropped})
    expect(studio.record("dropped.wav")).to_be_visible()


def test_the_page_loads_nothing_from_elsewhere_and_is_small(visit: Visit, site: Site) -> None:
    studio = visit()
    asked: list[str] = []
    studio.page.on("request", lambda request: asked.append(request.url))
    studio.page.reload()
    studio.page.wait_for_load_state("networkidle")
    assert all(url.startswith(f"{site.url}/") for url in asked)
    sizes = [len(file.body) for file in page_files("page").values()]
    print(f"the page: {sum(sizes)} bytes in {len(sizes)} files")
    assert sum(sizes) < 150_000
