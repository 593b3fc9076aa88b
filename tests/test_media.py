"""The contract of a store, on the one that the tests run on."""

import hashlib
import uuid

import pytest

from tests.stores import Kept, lapse, leave_marked
from umusic.app import Services
from umusic.errors import MediaAway, RecordUnknown
from umusic.library.media import Leftover, Media, Part, Stored

pytestmark = pytest.mark.leaves_files
THEN = 1_700_000_000
MP3 = bytes(range(256)) * 10
USER = uuid.uuid4()


@pytest.fixture
def media(services: Services) -> Media:
    return services.media


def stored(data: bytes) -> Stored:
    return Stored(len(data), hashlib.sha256(data).digest())


async def part_of(media: Media, record_id: uuid.UUID, data: bytes = MP3) -> Part:
    """One that has been written, and is not published yet."""
    part = await media.create(USER, record_id)
    part.path.write_bytes(data)
    return part


async def settle(services: Services, part: Part) -> None:
    async with services.database.transaction() as session:
        await part.settle_in(session)
    await part.settle()


async def kept_file(services: Services, data: bytes = MP3) -> uuid.UUID:
    """A record's file, published and settled."""
    record_id = uuid.uuid4()
    part = await part_of(services.media, record_id, data)
    await part.publish(THEN)
    await settle(services, part)
    return record_id


async def marked(media: Media) -> list[Leftover]:
    return [left async for left in media.leftovers()]


async def settled(media: Media) -> set[tuple[uuid.UUID, uuid.UUID]]:
    return {found async for found in media.settled()}


@pytest.mark.gen_test
async def test_preparing_leaves_nothing(media: Media, kept: Kept) -> None:
    await media.prepare()
    await media.check_present()
    await media.check_ready()
    assert kept.is_empty


@pytest.mark.gen_test
async def test_a_published_file_is_whole_and_stays_when_it_is_settled(
    services: Services, media: Media, kept: Kept
) -> None:
    record_id = uuid.uuid4()
    part = await part_of(media, record_id)
    assert await media.size(USER, record_id) is None
    assert await part.publish(THEN) == stored(MP3)
    assert kept.read(media.path(USER, record_id)) == MP3
    await settle(services, part)
    assert kept.names() == [media.path(USER, record_id)]
    assert not part.path.exists()


@pytest.mark.gen_test
async def test_a_file_counts_as_settled_from_then_on(services: Services, media: Media) -> None:
    record_id = uuid.uuid4()
    part = await part_of(media, record_id)
    assert not await media.is_settled(USER, record_id)
    await part.publish(THEN)
    assert not await media.is_settled(USER, record_id)
    assert await settled(media) == set()
    await settle(services, part)
    assert await media.is_settled(USER, record_id)
    assert await settled(media) == {(USER, record_id)}


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.gen_test
async def test_a_discarded_file_leaves_nothing(
    services: Services, media: Media, kept: Kept, published: bool
) -> None:
    part = await part_of(media, uuid.uuid4())
    if published:
        await part.publish(THEN)
    await part.discard()
    await part.discard()
    assert kept.is_empty
    await lapse(services)
    assert await marked(media) == []


@pytest.mark.gen_test
async def test_a_live_file_cannot_be_claimed_and_an_abandoned_one_can(
    services: Services, media: Media, kept: Kept
) -> None:
    record_id = uuid.uuid4()
    part = await part_of(media, record_id)
    left = media.leftover(USER, record_id)
    for publish in (False, True):
        if publish:
            await part.publish(THEN)
        assert not await left.claim()
        await left.release()
    await part.release()
    await lapse(services)
    [found] = await marked(media)
    assert (found.user_id, found.record_id) == (USER, record_id)
    assert await found.exists()
    assert await found.claim()
    assert not await left.claim()
    await left.release()
    assert await found.is_published()
    await found.discard()
    await found.release()
    assert kept.is_empty
    assert not await found.exists()


@pytest.mark.gen_test
async def test_what_is_settled_is_nobodys_to_claim(services: Services, media: Media) -> None:
    left = media.leftover(USER, await kept_file(services))
    assert not await left.claim()
    await left.release()
    assert not await left.exists()


@pytest.mark.gen_test
async def test_an_abandoned_file_that_has_a_row_is_settled_by_whoever_finds_it(
    services: Services, media: Media, kept: Kept
) -> None:
    record_id = await kept_file(services)
    await leave_marked(services, USER, record_id)
    [left] = await marked(media)
    assert await left.claim()
    await left.settle(stored(MP3))
    await left.release()
    assert await marked(media) == []
    assert await settled(media) == {(USER, record_id)}
    assert kept.names() == [media.path(USER, record_id)]


@pytest.mark.gen_test
async def test_one_that_is_cut_short_in_the_middle_is_marked_and_goes(
    services: Services, media: Media, kept: Kept
) -> None:
    record_id = kept.abandon(USER)
    [left] = await marked(media)
    assert (left.user_id, left.record_id) == (USER, record_id)
    # To look at it changes nothing.
    for _ in range(2):
        assert await left.claim()
        await left.release()
        assert await left.exists()
    assert await left.claim()
    await left.discard()
    await left.release()
    assert await marked(media) == []
    assert kept.is_empty


@pytest.mark.gen_test
async def test_leftovers_of_one_user_are_told_apart(
    services: Services, media: Media, kept: Kept
) -> None:
    other = uuid.uuid4()
    for user in (USER, other):
        kept.abandon(user)
    assert [left.user_id async for left in media.leftovers(other)] == [other]
    assert {left.user_id for left in await marked(media)} == {USER, other}
    for left in await marked(media):
        assert await left.claim()
        await left.discard()


@pytest.mark.gen_test
async def test_doomed_files_go_with_their_rows(
    services: Services, media: Media, kept: Kept
) -> None:
    stays, *gone = [await kept_file(services) for _ in range(3)]
    doomed = media.doomed(USER, gone)
    assert await doomed.mark()
    async with services.database.transaction() as session:
        await doomed.mark_in(session, gone)
    assert await settled(media) == {(USER, stays)}
    await doomed.discard()
    assert kept.names() == [media.path(USER, stays)]
    assert await marked(media) == []


@pytest.mark.gen_test
async def test_doomed_files_whose_rows_stay_stay_as_well(services: Services, media: Media) -> None:
    record_id = await kept_file(services)
    doomed = media.doomed(USER, [record_id])
    assert await doomed.mark()
    await doomed.unmark()
    assert await settled(media) == {(USER, record_id)}
    await lapse(services)
    assert await marked(media) == []


@pytest.mark.gen_test
async def test_doomed_files_of_which_nobody_knows_are_marked(
    services: Services, media: Media, kept: Kept
) -> None:
    record_id = await kept_file(services)
    await leave_marked(services, USER, record_id)
    assert await settled(media) == set()
    [left] = await marked(media)
    assert await left.claim()
    assert await left.is_published()
    await left.discard()
    assert kept.is_empty


@pytest.mark.gen_test
async def test_a_doomed_file_that_is_missing_is_no_trouble(
    services: Services, media: Media
) -> None:
    record_id = uuid.uuid4()
    doomed = media.doomed(USER, [record_id])
    assert await doomed.mark()
    async with services.database.transaction() as session:
        await doomed.mark_in(session, [record_id])
    await doomed.discard()
    await lapse(services)
    assert await marked(media) == []


@pytest.mark.gen_test
async def test_files_can_be_measured_found_and_read_in_parts(
    services: Services, media: Media
) -> None:
    data = bytes(1_000_000) + MP3 + bytes(2_000_000)
    record_id = await kept_file(services, data)
    path = media.path(USER, record_id)
    assert await media.size(USER, record_id) == len(data)
    assert await media.measure(USER, record_id) == stored(data)
    found = await media.find(path)
    assert found is not None
    assert found.size == len(data)
    for start, end in ((0, len(data)), (999_000, 1_004_000), (len(data) - 1, len(data)), (5, 5)):
        pieces = [piece async for piece in media.read(path, start, end)]
        assert b"".join(pieces) == data[start:end]
        assert all(len(piece) <= 2**20 for piece in pieces)


@pytest.mark.gen_test
async def test_of_a_file_that_is_not_there_there_is_nothing(media: Media) -> None:
    record_id = uuid.uuid4()
    assert await media.size(USER, record_id) is None
    assert await media.measure(USER, record_id) is None
    assert await media.find(media.path(USER, record_id)) is None
    assert not await media.is_settled(USER, record_id)


@pytest.mark.gen_test
async def test_what_is_made_of_an_mp3_is_kept_beside_it_and_goes_with_it(
    services: Services, media: Media, kept: Kept
) -> None:
    record_id = await kept_file(services)
    derived = media.derived(USER, record_id)
    assert not await derived.holds("peaks.json")
    assert await derived.read("peaks.json") is None
    async with derived.source() as mp3:
        assert mp3.read() == MP3
    for data in (b"old", b"new"):
        await derived.keep("peaks.json", data)
        assert await derived.holds("peaks.json")
        assert await derived.read("peaks.json") == data
    assert kept.read(derived.path("peaks.json")) == b"new"
    # It is no file of a record.
    assert await settled(media) == {(USER, record_id)}
    await media.drop_orphans(thorough=True)
    assert len(kept.names()) == 2
    doomed = media.doomed(USER, [record_id])
    assert await doomed.mark()
    async with services.database.transaction() as session:
        await doomed.mark_in(session, [record_id])
    await doomed.discard()
    assert kept.is_empty


@pytest.mark.gen_test
async def test_of_an_mp3_that_is_gone_nothing_is_kept(
    services: Services, media: Media, kept: Kept
) -> None:
    record_id = await kept_file(services)
    derived = media.derived(USER, record_id)
    kept.remove(media.path(USER, record_id))
    with pytest.raises(RecordUnknown):
        await derived.keep("peaks.json", b"{}")
    with pytest.raises(RecordUnknown):
        async with derived.source():
            pass
    assert kept.is_empty


@pytest.mark.gen_test
async def test_of_many_pictures_the_newest_stay(services: Services, media: Media) -> None:
    derived = media.derived(USER, await kept_file(services))
    for name in ("1.png", "2.png", "peaks.json", "3.png"):
        await derived.keep(name, b"x")
    await derived.trim(".png", 2)
    held = [await derived.holds(name) for name in ("1.png", "2.png", "3.png", "peaks.json")]
    assert held.count(True) == 3
    assert held[3]


@pytest.mark.gen_test
async def test_what_has_lost_its_mp3_is_an_orphan(
    services: Services, media: Media, kept: Kept
) -> None:
    whole, lost = [await kept_file(services) for _ in range(2)]
    for record_id in (whole, lost):
        await media.derived(USER, record_id).keep("peaks.json", b"{}")
    kept.remove(media.path(USER, lost))
    other = f"{uuid.uuid4()}/{uuid.uuid4()}.waveform/peaks.json"
    kept.write(other, b"{}")
    await media.drop_orphans(USER, thorough=False)
    left = [media.path(USER, whole), media.derived(USER, whole).path("peaks.json")]
    assert kept.names() == sorted([*left, other])
    await media.drop_orphans(thorough=True)
    assert kept.names() == sorted(left)


@pytest.mark.gen_test
async def test_what_a_repair_takes_out_is_in_the_lost_and_found(
    services: Services, media: Media, kept: Kept
) -> None:
    record_id = await kept_file(services)
    path = media.path(USER, record_id)
    await media.lost_and_found.add_row(record_id, '{"id": 1}')
    await media.lost_and_found.add_file(USER, record_id)
    assert await media.size(USER, record_id) is None
    assert kept.read(f"lost-and-found/{path}") == MP3
    # It may be asked for twice, and what came earlier stays.
    await media.lost_and_found.add_file(USER, record_id)
    kept.write(path, b"another")
    await media.lost_and_found.add_file(USER, record_id)
    found = [name for name in kept.mp3s() if name.startswith(f"lost-and-found/{USER}/")]
    assert sorted(map(kept.read, found)) == sorted([MP3, b"another"])
    assert [kept.read(name).strip() for name in kept.names() if name not in found] == [b'{"id": 1}']
    assert await settled(media) == set()


@pytest.mark.disk
@pytest.mark.gen_test
async def test_who_finds_a_published_file_in_the_way_leaves_it_there(
    services: Services, media: Media, kept: Kept
) -> None:
    record_id = await kept_file(services)
    other = await part_of(media, record_id, b"another")
    with pytest.raises(MediaAway):
        await other.publish(THEN)
    for _ in range(2):  # who has failed, and whoever cleans up
        await other.discard()
    assert kept.read(f"{USER}/{record_id}.mp3") == MP3
    assert await marked(media) == []
