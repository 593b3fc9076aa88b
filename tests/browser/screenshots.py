"""`make screenshots`: the pictures of the page in docs/screenshots, with sounds made for them."""

import math
import random
import sys
import wave
from array import array
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.conftest import WIDTHS, Site, chromium
from tests.browser.page import Studio
from tests.conftest import scratch_directory

RATE = 16_000
ENGLISH = (
    "Anna",
    ("Morning in the forest.wav", 184),
    ("Interview, part two.wav", 312),
    ("Rehearsal, second take.wav", 241),
)
RUSSIAN = (
    "Анна",
    ("Утро в лесу.wav", 184),
    ("Интервью, часть вторая.wav", 312),
    ("Репетиция, второй дубль.wav", 241),
)


def main(directory: Path) -> None:
    """Makes all pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    with scratch_directory() as scratch, Site(scratch).running() as site, chromium() as browser:
        for width, scheme, locale in (("wide", "light", "en"), ("narrow", "dark", "ru")):
            _picture(browser, site, scratch, directory, width, scheme, locale)


def _picture(
    browser: Browser,
    site: Site,
    scratch: Path,
    directory: Path,
    width: str,
    scheme: str,
    locale: str,
) -> None:
    name, *songs = ENGLISH if locale == "en" else RUSSIAN
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    context = browser.new_context(
        viewport=size,  # type: ignore[arg-type]
        device_scale_factor=2,
        color_scheme=scheme,  # type: ignore[arg-type]
        locale=locale,
    )
    page = context.new_page()
    page.goto(site.url)
    studio = Studio(page, site.url)

    def shoot(state: str) -> None:
        page.mouse.move(0, 0)
        page.wait_for_timeout(300)
        page.screenshot(path=directory / f"{state}-{width}.png")

    expect(page.locator("#welcome")).to_be_visible()
    shoot("welcome")
    studio.register(str(name))
    for title, seconds in songs:
        studio.send(sound(scratch / str(title), int(seconds)))
    page.locator("#sending-clear").click()
    refused = scratch / ("notes.wav" if locale == "en" else "заметки.wav")
    refused.write_text("To whom it may concern")
    studio.choose(refused)
    expect(studio.upload(refused.name)).to_have_attribute("data-state", "failed")
    studio.slow_down(1_500_000)
    studio.choose(sound(scratch / ("Concert.wav" if locale == "en" else "Концерт.wav"), 600))
    page.wait_for_timeout(4000)
    page.locator(".record .play").nth(1).click()
    page.wait_for_timeout(1000)
    page.locator("#seek").fill("96")
    page.wait_for_timeout(700)
    page.locator("#player-toggle").click()
    page.evaluate("scrollTo(0, 0)")
    shoot("library")
    if width == "narrow":
        page.locator("#library-title").scroll_into_view_if_needed()
        page.evaluate("scrollBy(0, 500)")
        shoot("recordings")
    page.locator("#account-open").click()
    shoot("account")
    context.close()


def sound(path: Path, seconds: int) -> Path:
    """A sound with loud and soft phrases, so that there is something to see."""
    chance = random.Random(path.name)
    samples = array("h")
    while len(samples) < seconds * RATE:
        loudness = chance.choice((0.15, 0.3, 0.5, 0.8, 1.0))
        pitch = chance.choice((196, 220, 247, 294, 330))
        length = int(RATE * chance.uniform(0.4, 2.5))
        for at in range(length):
            swell = math.sin(math.pi * at / length) ** 0.4 * (0.7 + 0.3 * chance.random())
            samples.append(int(28_000 * loudness * swell * math.sin(pitch * math.tau * at / RATE)))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples[: seconds * RATE].tobytes())
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1]))
