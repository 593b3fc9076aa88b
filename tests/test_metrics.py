"""/metrics: what is counted, and that all of it is in the papers."""

import asyncio
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import leaks
from tests.client import Client, as_json
from tests.conftest import stopped_ffmpeg, wait_for
from tests.test_gone_clients import Visitor, head
from tests.wavs import take
from umusic.app import Services
from umusic.metrics import Metrics
from umusic.web.errors import problem_types

DOCS = Path(__file__).parents[1] / "docs"
OPERATIONS = DOCS / "operations.md"
PROMETHEUS = DOCS / "prometheus"

_NAME = re.compile(r"\bumusic_[a-z0-9_]+")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-")

Sample = tuple[str, frozenset[tuple[str, str]]]


class Reading:
    """All samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self._samples: dict[Sample, float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._samples.get((f"umusic_{name}", frozenset(labels.items())))

    @property
    def names(self) -> set[str]:
        """The names that may stand in a query."""
        return {name for name, _ in self._samples}

    @property
    def labels(self) -> set[tuple[str, str]]:
        return {label for _, labels in self._samples for label in labels}


async def read(client: Client) -> Reading:
    response = await client.fetch("/metrics")
    assert response.code == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Reading(response.body.decode())


@pytest.mark.gen_test
async def test_head_tells_how_long_it_would_be(client: Client) -> None:
    response = await client.fetch("/metrics", method="HEAD")
    assert (response.code, response.body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 1000


@pytest.mark.gen_test
async def test_an_upload_is_counted_and_measured(client: Client) -> None:
    account, wav = await client.register(), take(0.5)
    receipt = as_json(await client.upload(account, wav))
    now = await read(client)
    assert now("uploads_total", outcome="accepted", reason="") == 1
    assert now("audio_seconds_total") == pytest.approx(0.5)
    assert now("mp3_bytes_total") == receipt["size"]
    assert now("upload_size_bytes_sum") == len(wav)
    whole, lag = now("upload_seconds_sum"), now("upload_lag_seconds_sum")
    assert whole and lag and 0 < lag < whole < 60
    assert now("segment_encode_seconds_count") == now("encoder_wait_seconds_count") == 1
    assert now("segments_failed_total") == 0
    assert (now("received_bytes_total") or 0) > len(wav)
    assert now("requests_total", handler="upload", method="POST", status="2xx") == 1
    assert now("request_seconds_count", handler="upload", method="POST") == 1


@pytest.mark.gen_test
async def test_refused_and_repeated_ones_are_counted_by_what_they_came_to(client: Client) -> None:
    account, wav = await client.register(), take(0.2)
    key = {"Idempotency-Key": "k"}
    assert (await client.upload(account, wav, name="a", headers=key)).code == 201
    assert (await client.upload(account, wav, name="a", headers=key)).code == 201
    assert (await client.upload(account, wav, name="a")).code == 409
    assert (await client.upload(account, b"no WAV" * 9)).code == 415
    assert (await client.upload(account, wav[:-10])).code == 422
    assert (await client.upload(None, wav)).code == 401
    now = await read(client)
    assert now("uploads_total", outcome="accepted", reason="") == 1
    assert now("uploads_total", outcome="repeated", reason="") == 1
    for reason in ("record-name-taken", "not-a-wav", "broken-wav", "token-missing"):
        assert now("uploads_total", outcome="refused", reason=reason) == 1, reason
        assert now("problems_total", problem=reason) == 1, reason
    assert now("upload_seconds_count") == 1


@pytest.mark.gen_test
async def test_a_client_that_goes_is_counted_once_and_kept_uploads_are_accepted(
    client: Client, services: Services, halting_ffmpeg: Path
) -> None:
    account, wav = await client.register(), take(3.0)
    half = Visitor(client)
    await half.send(head(account, f"Content-Length: {len(wav)}") + wav[:9000])
    await wait_for(lambda: services.keeper.live == 1)
    await half.go(resets=False)
    await wait_for(lambda: not services.keeper.live)
    services.keeper.pool.ffmpeg = halting_ffmpeg
    whole = Visitor(client)
    await whole.send(head(account, f"Content-Length: {len(wav)}") + wav)
    pid = await stopped_ffmpeg()
    await whole.go(resets=False)
    await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGCONT)
    await wait_for(lambda: not services.keeper.live)
    now = await read(client)
    assert now("uploads_total", outcome="gone", reason="") == 1
    assert now("uploads_total", outcome="accepted", reason="") == 1
    assert now("requests_total", handler="upload", method="PUT", status="gone") == 2


@pytest.mark.expects_log("ffmpeg failed")
@pytest.mark.gen_test
async def test_a_segment_that_fails_is_counted(
    client: Client, services: Services, complaining_ffmpeg: Path
) -> None:
    services.keeper.pool.ffmpeg = complaining_ffmpeg
    assert (await client.upload(await client.register(), take(0.2))).code == 503
    now = await read(client)
    assert now("segments_failed_total") == 1
    assert now("segment_encode_seconds_count") == 0
    assert now("uploads_total", outcome="refused", reason="encoder-failed") == 1


@pytest.mark.gen_test
async def test_what_runs_is_shown_as_it_is(
    client: Client, services: Services, halting_ffmpeg: Path
) -> None:
    account, wav = await client.register(), take(3.0)
    services.keeper.pool.ffmpeg = halting_ffmpeg
    visitor = Visitor(client)
    await visitor.send(head(account, f"Content-Length: {len(wav)}") + wav)
    pid = await stopped_ffmpeg()
    pool = services.keeper.pool
    rest = [await pool.acquire(object()) for _ in range(pool.size - 1)]
    waiting = asyncio.ensure_future(pool.acquire(object()))
    await asyncio.sleep(0)
    services.lifecycle.draining = True
    async with services.database.reading():
        now = await read(client)
    services.lifecycle.draining = False
    assert (now("uploads_running"), now("uploads_limit")) == (1, 64)
    assert now("requests_running") == 3  # this one, and twice the upload, whose end is being made
    assert now("draining") == 1
    assert (now("encoders_busy"), now("encoders_limit")) == (pool.size, pool.size)
    assert now("encoder_queue") == 1
    assert (now("database_connections_busy"), now("database_connections_limit")) == (0, 10)
    assert now("database_queue") == 1  # has not asked for its connection yet
    for slot in rest:
        slot.close()
    os.kill(pid, signal.SIGCONT)
    (await waiting).close()
    await wait_for(lambda: not services.lifecycle.requests)
    await visitor.go(resets=False)
    now = await read(client)
    for name in ("uploads_running", "draining", "encoders_busy", "encoder_queue"):
        assert now(name) == 0, name
    assert (now("database_connections_busy"), now("database_queue")) == (0, 0)


@pytest.mark.gen_test
async def test_connections_in_use_are_seen(client: Client, services: Services) -> None:
    async with services.database.reading() as session:
        await session.connection()
        now = await read(client)
    assert (now("database_connections_busy"), now("database_queue")) == (1, 0)


DECISIONS = [
    ({}, "", "sent"),
    ({"Range": "bytes=0-9"}, "", "part"),
    ({"If-None-Match": "*"}, "", "unchanged"),
    ({"Range": "bytes=99999999-"}, "", "refused"),
    ({}, "0", "missing"),
]


@pytest.mark.gen_test
async def test_downloads_are_counted_by_what_was_decided(client: Client) -> None:
    link = as_json(await client.upload(await client.register(), take(0.2)))["link"]
    for headers, more, decision in DECISIONS:
        await client.fetch(link.replace("&user=", f"{more}&user="), headers=headers)
        assert (await read(client))("downloads_total", decision=decision) == 1, decision


class TestBehindNginx:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"x_accel_prefix": "/_media/"}

    @pytest.mark.gen_test
    async def test_what_is_handed_over_is_counted_as_that(self, client: Client) -> None:
        link = as_json(await client.upload(await client.register(), take(0.2)))["link"]
        await client.fetch(link)
        assert (await read(client))("downloads_total", decision="nginx") == 1


@pytest.mark.gen_test
async def test_no_label_has_what_a_client_said(client: Client) -> None:
    account = await client.register()
    link = as_json(await client.upload(account, take(0.2), name="Mystery.wav"))["link"]
    await client.fetch(link)
    for path in ("/mystery", "/record/mystery", "/problems/mystery"):
        for method in ("GET", "MYSTERY", "OPTIONS"):
            await client.fetch(path, method=method, headers={"X-Request-ID": "mystery-id"})
    await read(client)
    before = await read(client)
    assert "mystery" not in before.text.lower()
    assert not _UUID.search(before.text)
    leaks.assert_none_in_log(before.text, "/metrics")
    for number in range(20):
        await client.fetch(f"/mystery{number}", method=f"M{number}")
        await client.fetch(f"/problems/mystery{number}")
    assert (await read(client)).labels - before.labels == set()


@pytest.mark.gen_test
async def test_every_problem_is_there_before_it_first_comes_up(client: Client) -> None:
    now = await read(client)
    for code in problem_types():
        assert now("problems_total", problem=code) == 0
        assert now("uploads_total", outcome="refused", reason=code) == 0


def test_a_scrape_holds_nobody_up() -> None:
    metrics = Metrics(problem_types())
    for number in range(40):
        metrics.request_ended(f"handler {number}", "GET", "2xx", 0.1)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        metrics.exposition()
        times.append(time.perf_counter() - began)
    assert min(times) < 0.03


async def after_traffic(client: Client) -> Reading:
    """A scrape that has all that umusic ever shows."""
    link = as_json(await client.upload(await client.register(), take(0.2)))["link"]
    await client.fetch(link)
    return await read(client)


@pytest.mark.gen_test
async def test_the_papers_tell_of_every_metric_and_of_no_other(client: Client) -> None:
    now = await after_traffic(client)
    rows = re.findall(r"^\| `(umusic_\w+)` \| (\w+) \|(.*?)\|", section("Metrics"), re.M)
    shown = {}
    for family in now.families:
        if family.name.startswith("umusic_"):
            total = "_total" if family.type == "counter" else ""
            labels = {name for sample in family.samples for name in sample.labels} - {"le"}
            shown[family.name + total] = (family.type, labels)
    told = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert told == shown


@pytest.mark.gen_test
async def test_rules_and_papers_use_only_names_that_there_are(client: Client) -> None:
    now = await after_traffic(client)
    families = {family.name for family in now.families}
    papers = [section("Metrics"), section("Alerts")]
    for text in (*papers, *(path.read_text() for path in PROMETHEUS.glob("*.yml"))):
        assert set(_NAME.findall(text)) - now.names - families == set()


def test_each_alert_is_explained() -> None:
    alerts = re.findall(r"- alert: (\w+)", (PROMETHEUS / "rules.yml").read_text())
    explained = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|(.*?)\|", section("Alerts"), re.M)))
    assert alerts and sorted(alerts) == sorted(explained)


def section(title: str) -> str:
    """A part of the papers on operations."""
    return OPERATIONS.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
