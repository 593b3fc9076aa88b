"""GET /records: one's own records, a page at a time."""

import re
import uuid
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from sqlalchemy import Select, text
from sqlalchemy.dialects import postgresql

from tests.client import Account, Client, as_json, both_ways
from tests.rows import add_rows
from tests.wavs import take
from umusic.app import Services
from umusic.library.models import Record
from umusic.library.records import page_query


def uuid_of(account: Account) -> uuid.UUID:
    return uuid.UUID(account.id)


async def explain(services: Services, query: Select[Record]) -> str:
    """How Postgres goes about the query."""
    compiled = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    async with services.database.reading() as session:
        return "\n".join(await session.scalars(text(f"EXPLAIN {compiled}")))


async def page(client: Client, account: Account, query: str = "") -> Any:
    response = await client.fetch(f"/records{query}", headers=account.bearer)
    assert response.code == 200, response.body
    return as_json(response)


def names(page: Any) -> list[str]:
    return [item["name"] for item in page["items"]]


@both_ways
@pytest.mark.parametrize("path", ["/records", "/records/"])
@pytest.mark.gen_test
async def test_the_newest_come_first_with_all_that_is_known_of_them(
    client: Client, path: str
) -> None:
    user, other = await client.register("Ann"), await client.register("Ben")
    receipts = [as_json(await client.upload(user, take(0.1), name=name)) for name in "abc"]
    await client.upload(other, take(0.1), name="d")
    response = await client.fetch(path, headers=user.bearer)
    assert response.code == 200
    listed = as_json(response)
    assert names(listed) == ["c", "b", "a"]
    for item, receipt in zip(listed["items"], reversed(receipts), strict=True):
        assert item.items() <= receipt.items()
        assert (await client.fetch(item["link"])).code == 200
    assert listed["next"] is None
    assert "Link" not in response.headers


@pytest.mark.gen_test
async def test_an_empty_library_is_an_empty_page(client: Client) -> None:
    assert await page(client, await client.register()) == {"items": [], "next": None}


@both_ways
@pytest.mark.gen_test
async def test_link_rel_next_leads_through_all_records_once(
    client: Client, services: Services
) -> None:
    user = await client.register()
    await add_rows(services.database, user.id, 25)
    seen: list[str] = []
    link: str | None = f"{client.site}/records?limit=10&q=take"
    sizes = []
    while link:
        response = await client.fetch(link, headers=user.bearer)
        sizes.append(len(as_json(response)["items"]))
        seen += names(as_json(response))
        following = re.fullmatch(r'<(.+)>; rel="next"', response.headers.get("Link", ""))
        link = following[1] if following else None
        if link:
            assert link.startswith(f"{client.site}/records?")
            parameters = parse_qs(urlsplit(link).query)
            assert parameters["cursor"] == [as_json(response)["next"]]
            assert (parameters["limit"], parameters["q"]) == (["10"], ["take"])
    assert sizes == [10, 10, 5]
    assert len(set(seen)) == 25


@pytest.mark.gen_test
async def test_next_is_the_cursor_of_the_next_page(client: Client, services: Services) -> None:
    user = await client.register()
    await add_rows(services.database, user.id, 4)
    first = await page(client, user, "?limit=2")
    second = await page(client, user, f"?limit=2&cursor={first['next']}")
    assert second["next"] is None
    assert len({*names(first), *names(second)}) == 4


@pytest.mark.gen_test
async def test_a_record_that_comes_meanwhile_moves_nothing(
    client: Client, services: Services
) -> None:
    user = await client.register()
    await add_rows(services.database, user.id, 6)
    first = await page(client, user, "?limit=3")
    await client.upload(user, take(0.1), name="newer")
    second = await page(client, user, f"?limit=3&cursor={first['next']}")
    assert len({*names(first), *names(second)}) == 6


@pytest.mark.gen_test
async def test_fifty_come_unless_told_and_a_thousand_at_most(
    client: Client, services: Services
) -> None:
    user = await client.register()
    await add_rows(services.database, user.id, 1001)
    assert len((await page(client, user))["items"]) == 50
    assert len((await page(client, user, "?limit=1000"))["items"]) == 1000


@pytest.mark.parametrize(
    ("searched", "found"),
    [
        ("take", ["Take 2.wav", "take 1.wav"]),
        ("TAKE 1", ["take 1.wav"]),
        ("запись", ["Запись 3.wav"]),
        ("e\u0301te\u0301", ["\u00c9t\u00e9.wav"]),
        ("%", ["100% _x_.wav"]),
        ("_x", ["100% _x_.wav"]),
        ("\\", []),
        ("nothing", []),
        (".wav", ["100% _x_.wav", "\u00c9t\u00e9.wav", "Запись 3.wav", "Take 2.wav", "take 1.wav"]),
    ],
)
@pytest.mark.gen_test
async def test_q_finds_a_part_of_the_name_in_capitals_or_not(
    client: Client, searched: str, found: list[str]
) -> None:
    user = await client.register()
    for name in ("take 1.wav", "Take 2.wav", "Запись 3.wav", "\u00c9t\u00e9.wav", "100% _x_.wav"):
        assert (await client.upload(user, take(0.05), name=name)).code == 201
    await client.upload(user, take(0.05))
    assert names(await page(client, user, f"?q={quote(searched)}")) == found


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "limit=1e2",
        "limit=%D9%A1",  # a digit, but not one of ours
        "limit=99999999999999999999",
        "limit=0000000015000",
        "limit=" + "9" * 5000,
        "cursor=x",
        "cursor=AAAA",
        "cursor=" + "A" * 31,
        "cursor=g" + "A" * 31,  # before all time
        "cursor=f" + "A" * 31,  # after it
        "cursor=%FF",
        "q=%00",
        "q=%FF",
        "q=" + "x" * 251,
    ],
)
@pytest.mark.gen_test
async def test_a_wrong_parameter_is_422_and_names_it(client: Client, query: str) -> None:
    user = await client.register()
    response = await client.fetch(f"/records?{query}", headers=user.bearer)
    assert response.code == 422
    assert as_json(response)["field"] == query.partition("=")[0]


@pytest.mark.gen_test
async def test_many_thousand_records_are_paged_through_by_an_index(
    client: Client, services: Services
) -> None:
    user, other = await client.register("Ann"), await client.register("Ben")
    await add_rows(services.database, user.id, 20_000)
    await add_rows(services.database, other.id, 1000)
    account = as_json(await client.fetch("/user", headers=user.bearer))
    assert (account["records"], account["bytes"]) == (20_000, 320_000_000)
    cursor, seen = "", set()
    while cursor is not None:
        found = await page(client, user, f"?limit=1000&cursor={cursor}")
        seen.update(item["id"] for item in found["items"])
        cursor = found["next"]
    assert len(seen) == 20_000
    for position in (None, (await services.records.page(uuid_of(user), limit=10_000))[1]):
        for searched in ("", "take 7"):
            plan = await explain(services, page_query(uuid_of(user), 100, position, searched))
            assert "ix_records_user_id_created_at_id" in plan
            assert "Sort" not in plan
            assert "Seq Scan" not in plan
