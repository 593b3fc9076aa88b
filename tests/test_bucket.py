"""The store in S3 when S3 fails, refuses, or takes too long."""

import asyncio
import datetime
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import AnyHttpUrl
from sqlalchemy import select

from tests.client import Client, as_json
from tests.gateway import Gateway
from tests.process import umusic
from tests.stores import S3, Kept, lapse
from tests.test_keeper import order
from tests.test_uploads import assert_nothing_kept, rows
from tests.tus import Tus, problem
from tests.wavs import take
from umusic.app import Services
from umusic.errors import StartError
from umusic.library import completion, multiparts, objects, progress
from umusic.library.bucket import Bucket
from umusic.library.models import Claim
from umusic.library.objects import Objects
from umusic.library.stores import Stores
from umusic.settings import Settings

pytestmark = pytest.mark.s3

FAULTS = ("away", "hangs", "cuts", "500 Internal Server Error", "503 Slow Down")
#: What a key has to be granted.
ACTIONS = (
    *("PutObject", "GetObject", "DeleteObject", "ListBucket"),
    *("ListBucketMultipartUploads", "AbortMultipartUpload"),
)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives up on S3 soon."""
    hurried = {**objects._RETRIES, "retry_timeout": datetime.timedelta(seconds=1)}
    monkeypatch.setattr(objects, "_RETRIES", {**hurried, "max_retries": 1})
    monkeypatch.setattr(objects, "_CLIENT", {**objects._CLIENT, "read_timeout": "1s"})
    monkeypatch.setattr(objects, "_SENDING", {"read_timeout": "1s"})
    monkeypatch.setattr(multiparts, "_READ_SECONDS", 1)
    monkeypatch.setattr(multiparts, "_ATTEMPTS", 1)


class TestAGatewayThatFails:
    @pytest.fixture
    def knobs(self, gateway: Gateway, hasty: None) -> dict[str, Any]:
        return {"s3_endpoint": gateway.url}

    @pytest.mark.expects_log("media-away")
    @pytest.mark.expects_log("a file could not be removed")
    @pytest.mark.expects_log("swept the files of 1 records")
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.gen_test
    async def test_an_upload_is_503_and_can_be_repeated(
        self, client: Client, services: Services, kept: Kept, gateway: Gateway, fault: str
    ) -> None:
        user = await client.register()
        await gateway.fail(fault)
        response = await client.upload(user, take(0.1), name="x")
        assert response.code == 503
        assert as_json(response)["type"] == "/problems/media-away"
        assert "Retry-After" in response.headers
        unready = await client.fetch("/readyz")
        assert (unready.code, as_json(unready)["type"]) == (503, "/problems/media-away")
        assert (await client.fetch("/healthz")).code == 200
        await gateway.mend()
        assert (await client.fetch("/readyz")).code == 200
        assert (await client.upload(user, take(0.1), name="x")).code == 201
        await lapse(services)
        assert await services.audit.sweep() == 1
        assert len(await rows(services)) == len(kept.names()) == 1
        assert not kept.unfinished()

    @pytest.mark.expects_log("media-away")
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.gen_test
    async def test_a_download_is_503_until_it_is_back(
        self, client: Client, gateway: Gateway, fault: str
    ) -> None:
        user = await client.register()
        receipt = as_json(await client.upload(user, take(0.1)))
        await gateway.fail(fault)
        for path in (receipt["link"], receipt["link"].replace("/record?", "/record/peaks?")):
            response = await client.fetch(path)
            assert (response.code, as_json(response)["type"]) == (503, "/problems/media-away")
        # What the database knows can be asked.
        assert (await client.fetch("/records", headers=user.bearer)).code == 200
        await gateway.mend()
        assert len((await client.fetch(receipt["link"])).body) == receipt["size"]

    @pytest.mark.expects_log("a file could not be removed")
    @pytest.mark.expects_log("swept the files of 1 records")
    @pytest.mark.parametrize("fault", ["away", "503 Slow Down"])
    @pytest.mark.gen_test
    async def test_a_deletion_is_done_and_its_file_goes_later(
        self, client: Client, services: Services, kept: Kept, gateway: Gateway, fault: str
    ) -> None:
        user = await client.register()
        link = as_json(await client.upload(user, take(0.1)))["link"]
        await gateway.fail(fault)
        assert (await client.fetch(link, method="DELETE", headers=user.bearer)).code == 204
        assert (await client.fetch(link)).code == 404
        await gateway.mend()
        assert len(kept.names()) == 1
        await lapse(services)
        assert await services.audit.sweep() == 1
        await assert_nothing_kept(services, kept)

    @pytest.mark.expects_log("media-away")
    @pytest.mark.expects_log("a file could not be removed")
    @pytest.mark.expects_log("swept the files of")
    @pytest.mark.gen_test
    async def test_that_all_of_an_upload_has_come_is_told_once_there_is_a_record(
        self,
        client: Client,
        services: Services,
        gateway: Gateway,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(progress, "_RECORD_SECONDS", 0.1)
        monkeypatch.setattr(completion, "_RETRY_SECONDS", (0.1, 1.0))
        tus, wav = Tus(client, await client.register()), take(0.1)
        url = await tus.begin(len(wav))
        await gateway.fail("away")
        assert problem(await tus.patch(url, 0, wav)) == (503, "media-away")
        # All bytes are on this machine alone: whoever hears of them all does not come again.
        asked = await tus.ask("HEAD", url)
        assert (asked.code, "Upload-Offset" in asked.headers) == (423, False)
        await gateway.mend()
        async with asyncio.timeout(20):
            while (asked := await tus.ask("HEAD", url)).code == 423:
                await asyncio.sleep(0.05)
        assert (asked.code, asked.headers["Upload-Offset"]) == (200, str(len(wav)))
        link = asked.headers["Content-Location"]
        assert (await client.fetch(link)).code == 200
        await lapse(services)
        assert await services.audit.sweep() >= 1

    @pytest.mark.gen_test
    async def test_one_that_hangs_keeps_no_thread_from_others(
        self, services: Services, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(multiparts, "_READ_SECONDS", 30)
        media = services.media
        assert isinstance(media, Bucket)

        async def look() -> None:
            async for _ in media.objects.unfinished("x"):
                pass

        await gateway.fail("hangs")
        # More of them than asyncio has threads for all.
        looks = [asyncio.ensure_future(look()) for _ in range(40)]
        await asyncio.sleep(0.1)
        await asyncio.wait_for(asyncio.to_thread(int), 10)
        assert not any(each.done() for each in looks)
        await gateway.close()
        for each in looks:
            each.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    @pytest.mark.gen_test
    async def test_a_check_tells_what_cannot_be_looked_at_as_that(
        self, client: Client, services: Services, gateway: Gateway, tmp_path: Path
    ) -> None:
        await client.upload(await client.register(), take(0.1))
        await gateway.fail("away")
        with pytest.raises(StartError, match="cannot be reached"):
            await services.media.check_present()
        await gateway.mend()
        await services.media.check_present()


@pytest.mark.gen_test
async def test_whoever_comes_by_another_endpoint_sees_the_same_claims(
    services: Services, settings: Settings, kept: Kept, gateway: Gateway
) -> None:
    elsewhere = settings.model_copy(update={"s3_endpoint": AnyHttpUrl(gateway.url)})
    other = Stores(elsewhere, services.database).main()
    media = services.media
    assert isinstance(media, Bucket) and isinstance(other, Bucket)
    user = uuid.uuid4()
    record_id = kept.abandon(user)
    held = await media.claims.seize(user, record_id)
    assert held is not None
    assert await media.is_abandoned(user, record_id) is False
    assert await other.is_abandoned(user, record_id) is False
    await held.drop()
    assert await other.is_abandoned(user, record_id) is True
    await other.remove(user, record_id)


class TestAGatewayThatRestarts:
    @pytest.fixture
    def knobs(self, gateway: Gateway) -> dict[str, Any]:
        return {"s3_endpoint": gateway.url}

    @pytest.mark.gen_test
    async def test_it_is_waited_for(
        self, client: Client, services: Services, kept: Kept, gateway: Gateway
    ) -> None:
        user = await client.register()
        await gateway.close()
        uploading = asyncio.ensure_future(client.upload(user, take(0.1)))
        await asyncio.sleep(1)
        assert not uploading.done()
        await gateway.open()
        assert (await uploading).code == 201
        assert len(kept.names()) == 1


@pytest.mark.expects_log("swept the files of 1 records")
@pytest.mark.gen_test
async def test_an_upload_that_has_lost_its_claim_is_503_and_leaves_nothing(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await client.register()
    put = Objects.put

    async def put_slowly(store: Objects, *args: Any) -> None:
        await put(store, *args)
        # As if it had taken longer than the lease, and the process had been held.
        await lapse(services)
        assert await services.audit.sweep() == 1

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "put", put_slowly)
        response = await client.upload(user, take(0.1), name="x")
    assert response.code == 503
    assert as_json(response)["type"] == "/problems/media-away"
    await assert_nothing_kept(services, kept)
    assert (await client.upload(user, take(0.1), name="x")).code == 201


@pytest.mark.expects_log("swept the files of 1 records")
@pytest.mark.gen_test
async def test_one_that_is_put_after_it_was_swept_leaves_nothing_either(
    client: Client, services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await client.register()
    put = Objects.put

    async def put_late(store: Objects, *args: Any) -> None:
        await lapse(services)
        await services.audit.sweep()
        await put(store, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "put", put_late)
        assert (await client.upload(user, take(0.1))).code == 503
    await assert_nothing_kept(services, kept)


@pytest.mark.expects_log("swept the files of 1 records")
@pytest.mark.gen_test
async def test_an_upload_that_is_cut_short_while_it_is_put_leaves_nothing(
    services: Services, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    putting = asyncio.Event()

    async def hang(store: Objects, *args: Any) -> None:
        putting.set()
        await asyncio.Event().wait()

    upload = await services.keeper.begin(await order(services))
    await upload.write(take(0.1))
    with monkeypatch.context() as patch:
        patch.setattr(Objects, "put", hang)
        finishing = asyncio.ensure_future(upload.finish())
        await putting.wait()
        # A sweep meanwhile leaves it alone.
        assert await services.audit.sweep() == 0
        finishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finishing
    await upload.abort()
    # S3 may still be at it: what comes later a sweep removes. So far there is nothing to tell of.
    assert [finding async for finding in services.audit.check()] == []
    async with services.database.reading() as session:
        claim = (await session.scalars(select(Claim))).one()
    kept.write(f"{claim.user_id}/{claim.record_id}.mp3", b"late")
    await lapse(services)
    assert await services.audit.sweep() == 1
    await assert_nothing_kept(services, kept)


class TestTheStart:
    """What is wrong with S3 is told in a sentence that says what to do."""

    async def refused(self, directory: Path, kept: Kept, url: str, **wrong: str) -> str:
        settings = {"database_url": url, "media_dir": str(directory), "port": "0"}
        told = {**settings, **kept.settings, **wrong}
        environment = {f"UMUSIC_{name.upper()}": value for name, value in told.items()}
        done = await umusic("serve", directory=directory, **environment)
        assert (done.status, done.output) == (1, "")
        assert "Traceback" not in done.errors
        assert kept.settings["s3_secret_key"] not in done.errors
        return done.errors.splitlines()[-1]

    @pytest.mark.gen_test
    async def test_wrong_keys(self, directory: Path, kept: Kept, database_url: str) -> None:
        for wrong, said in (
            ({"s3_secret_key": "wrong"}, "SignatureDoesNotMatch"),
            ({"s3_access_key": "nobody"}, "InvalidAccessKeyId"),
            ({"media_url": "s3://umusic-no-such-bucket/x"}, "NoSuchBucket"),
        ):
            sentence = await self.refused(directory, kept, database_url, **wrong)
            assert sentence.startswith("umusic: UMUSIC_MEDIA_URL: s3://")
            assert said in sentence
            assert "UMUSIC_S3_ENDPOINT" in sentence

    @pytest.fixture
    def guarded(self, s3: S3) -> Iterator[str]:
        """A bucket that may be given rules of its own."""
        name = f"umusic-{uuid.uuid4()}"
        s3.client.create_bucket(Bucket=name)
        yield name
        s3.client.delete_bucket_policy(Bucket=name)
        for found in s3.client.list_objects_v2(Bucket=name).get("Contents", ()):
            s3.client.delete_object(Bucket=name, Key=found["Key"])
        s3.client.delete_bucket(Bucket=name)

    @pytest.mark.gen_test
    async def test_a_right_that_is_missing(self, services: Services, s3: S3, guarded: str) -> None:
        media = services.stores.at(f"s3://{guarded}/x")
        assert isinstance(media, Bucket)
        await media.prepare()
        for action in ACTIONS:
            rule = {
                "Effect": "Deny",
                "Principal": "*",
                "Action": f"s3:{action}",
                "Resource": [f"arn:aws:s3:::{guarded}", f"arn:aws:s3:::{guarded}/*"],
            }
            policy = {"Version": "2012-10-17", "Statement": [rule]}
            s3.client.put_bucket_policy(Bucket=guarded, Policy=json.dumps(policy))
            with pytest.raises(StartError, match=r"AccessDenied.*(Grant|See that)"):
                await media.prepare()
        s3.client.delete_bucket_policy(Bucket=guarded)
        await media.prepare()
