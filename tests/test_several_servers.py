"""Three umusics on one volume and one database: whatever races ends as it would in one.

They sweep twice a second meanwhile, each of them (see `impatient`).
"""

import contextlib
import hashlib
import json
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any, TypeVar

import pytest

from tests.chaos.storm import await_true
from tests.conftest import database_of, execute, run_apart, scratch_directory
from tests.process import Process
from tests.wavs import take

T = TypeVar("T")
Files = Callable[[], list[str]]
QUOTA = 1_000_000
SHORT = take(0.05)


@pytest.fixture(scope="module")
def database(cluster: str, template: str) -> Iterator[str]:
    with database_of(cluster, template) as url:
        yield url


@pytest.fixture(scope="module")
def servers(database: str) -> Iterator[list[Process]]:
    with scratch_directory() as directory, contextlib.ExitStack() as stack:

        def start(_: int) -> Process:
            return Process(
                directory,
                program="tests.impatient",
                database_url=database,
                user_quota_bytes=str(QUOTA),
            )

        with ThreadPoolExecutor(3) as starters:
            made = list(starters.map(start, range(3)))
        for each in made:
            stack.callback(each.close)
        yield made
        assert ", 0 faults" in made[0].check()
        for each in made:
            status, log = each.stop()
            assert (status, "Traceback" in log) == (0, False)


@pytest.fixture
def user(servers: list[Process]) -> tuple[str, Files]:
    """A token, and what tells the files of its owner."""
    token = servers[0].register(str(uuid.uuid4()))
    owner = ask(servers[0], "GET", "/user", token)[1]["id"]
    return token, files_of(servers[0], owner)


def files_of(server: Process, owner: str) -> Files:
    return lambda: [name for name in server.kept.names() if name.startswith(f"{owner}/")]


def ask(
    server: Process, method: str, path: str, token: str = "", body: bytes | None = None
) -> tuple[int, Any]:
    """The status, and the body as JSON if there is one."""
    with contextlib.closing(HTTPConnection("127.0.0.1", server.port)) as connection:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read()
        is_json = "json" in response.headers.get("Content-Type", "")
        return response.status, json.loads(text) if is_json else text


def at_once(acts: Sequence[Callable[[], T]]) -> list[T]:
    """Does all of it at the same moment."""
    barrier = threading.Barrier(len(acts))

    def act(each: Callable[[], T]) -> T:
        barrier.wait()
        return each()

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(act, acts))


class Sending:
    """An upload of which all has been sent but the last byte."""

    def __init__(
        self, server: Process, token: str, path: str = "/record", wav: bytes = SHORT, **more: str
    ) -> None:
        self._last = wav[-1:]
        self._connection = HTTPConnection("127.0.0.1", server.port)
        self._connection.putrequest("PUT", path)
        self._connection.putheader("Authorization", f"Bearer {token}")
        self._connection.putheader("Content-Length", str(len(wav)))
        for name, value in more.items():
            self._connection.putheader(name.replace("_", "-"), value)
        self._connection.endheaders(wav[:-1])

    def end(self) -> tuple[int, dict[str, Any], str | None]:
        """Sends that one; the status, the reply, and when to try again."""
        with contextlib.closing(self._connection), contextlib.suppress(BrokenPipeError):
            with contextlib.suppress(ConnectionError):  # it may be refused already
                self._connection.send(self._last)
            response = self._connection.getresponse()
            return response.status, json.load(response), response.headers["Retry-After"]
        raise AssertionError("no answer")


def problem(reply: dict[str, Any]) -> str:
    return str(reply["type"]).removeprefix("/problems/")


def test_of_uploads_of_one_name_one_is_kept(
    servers: list[Process], user: tuple[str, Files]
) -> None:
    token, files = user
    for name in ("a.wav", "b.wav"):
        sending = [Sending(each, token, f"/record?name={name}") for each in 3 * servers]
        time.sleep(0.3)
        replies = at_once([each.end for each in sending])
        assert Counter(status for status, _, _ in replies) == {201: 1, 409: 8}
        [link] = {reply["link"].partition("/record")[2] for _, reply, _ in replies}
        assert ask(servers[1], "GET", f"/record{link}")[0] == 200
    assert len(files()) == 2


def test_of_uploads_of_one_key_one_is_kept_and_all_get_its_reply(
    servers: list[Process], user: tuple[str, Files]
) -> None:
    token, files = user
    for key in ("first", "second"):
        sending = [Sending(each, token, Idempotency_Key=key) for each in 2 * servers]
        time.sleep(0.3)
        replies = at_once([each.end for each in sending])
        kept = {reply["id"] for status, reply, _ in replies if status == 201}
        assert len(kept) == 1
        for status, reply, retry_after in replies:
            if status != 201:
                assert (status, problem(reply)) == (409, "idempotency-key-in-use")
                assert retry_after
        for server in servers:
            status, reply, _ = Sending(server, token, Idempotency_Key=key).end()
            assert (status, reply["id"]) == (201, *kept)
    assert len(files()) == 2
    assert ask(servers[2], "GET", "/user", token)[1]["records"] == 2


def test_a_key_and_a_name_together_are_no_trouble(
    servers: list[Process], user: tuple[str, Files]
) -> None:
    token, files = user
    path = "/record?name=take.wav"
    sending = [Sending(each, token, path, Idempotency_Key="both") for each in servers]
    time.sleep(0.3)
    replies = at_once([each.end for each in sending])
    assert {status for status, _, _ in replies} <= {201, 409}
    kept = {reply["id"] for status, reply, _ in replies if status == 201}
    again = {Sending(each, token, path, Idempotency_Key="both").end()[1]["id"] for each in servers}
    assert again == kept
    assert len(files()) == 1


def test_a_user_who_goes_leaves_nothing_of_uploads_that_end_elsewhere(
    servers: list[Process],
) -> None:
    for number in range(3):
        token = servers[0].register(str(uuid.uuid4()))
        owner = ask(servers[0], "GET", "/user", token)[1]["id"]
        servers[0].upload(token)
        sending = [Sending(each, token) for each in 3 * servers[1:]]
        time.sleep(0.2)

        def remove(token: str = token) -> tuple[int, dict[str, Any], None]:
            return ask(servers[0], "DELETE", "/user", token)[0], {}, None

        removed, *replies = at_once([remove, *(each.end for each in sending)])
        assert removed[0] == 204, number
        assert {status for status, _, _ in replies} <= {201, 401}
        assert [ask(each, "GET", "/user", token)[0] for each in servers] == 3 * [401]
        for status, reply, _ in replies:
            if status == 201:
                link = reply["link"].partition("/record")[2]
                assert ask(servers[2], "GET", f"/record{link}")[0] == 404
        files = files_of(servers[0], owner)
        await_true(lambda files=files: files() == [])  # type: ignore[misc]


def test_a_record_that_is_deleted_elsewhere_is_read_to_its_end(
    servers: list[Process], user: tuple[str, Files]
) -> None:
    token, _ = user
    receipt = ask(servers[0], "PUT", "/record", token, take(5.0))[1]
    path = "/record" + receipt["link"].partition("/record")[2]
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", servers[1].port))
        reader.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        head = reader.recv(64)
        assert b" 200 " in head
        assert ask(servers[0], "DELETE", path, token)[0] == 204
        assert [ask(each, "GET", path)[0] for each in servers] == 3 * [404]
        rest = b"".join(iter(lambda: reader.recv(65536), b""))
    assert hashlib.sha256(rest.partition(b"\r\n\r\n")[2]).hexdigest() == receipt["sha256"]


def test_a_deletion_wins_over_renamings_and_other_deletions(
    servers: list[Process], user: tuple[str, Files]
) -> None:
    token, files = user
    for number in range(5):
        path = servers[0].upload(token)
        name = json.dumps({"name": f"{number}.wav"}).encode()
        acts = [
            lambda path=path: ask(servers[0], "DELETE", path, token)[0],
            lambda path=path: ask(servers[1], "DELETE", path, token)[0],
            lambda path=path, name=name: ask(servers[1], "PATCH", path, token, name)[0],
            lambda path=path, name=name: ask(servers[2], "PATCH", path, token, name)[0],
            lambda path=path: ask(servers[2], "GET", path)[0],
        ]
        one, other, *renamed, read = at_once(acts)
        assert sorted([one, other]) == [204, 404]
        assert {*renamed, read} <= {200, 404}
        assert ask(servers[2], "PATCH", path, token, name)[0] == 404
    assert files() == []


def test_the_quota_is_not_exceeded_by_uploads_to_all_of_them(
    servers: list[Process], user: tuple[str, Files]
) -> None:
    token, files = user
    # Each fits when it begins, as a WAV; as MP3s they do not all.
    wav = take(5.0)
    size = ask(servers[0], "PUT", "/record", token, wav)[1]["size"]
    sending = [Sending(each, token, wav=wav) for each in 5 * servers]
    time.sleep(0.3)
    replies = at_once([each.end for each in sending])
    fit = QUOTA // size
    assert fit < 16
    assert Counter(status for status, _, _ in replies) == {201: fit - 1, 413: 16 - fit}
    assert ask(servers[1], "GET", "/user", token)[1]["bytes"] == fit * size <= QUOTA
    assert len(files()) == fit


def test_a_token_that_is_renewed_is_dead_everywhere_at_once(
    servers: list[Process], user: tuple[str, Files]
) -> None:
    token, _ = user
    assert [ask(each, "GET", "/user", token)[0] for each in servers] == 3 * [200]
    replies = at_once(
        [lambda each=each: ask(each, "POST", "/user/token", token) for each in servers]
    )
    assert sorted(status for status, _ in replies) == [200, 401, 401]
    [fresh] = [reply["token"] for status, reply in replies if status == 200]
    assert [ask(each, "GET", "/user", token)[0] for each in servers] == 3 * [401]
    assert [ask(each, "GET", "/user", fresh)[0] for each in servers] == 3 * [200]


def test_of_users_of_one_name_one_is_made(servers: list[Process]) -> None:
    body = json.dumps({"name": "Ann"}).encode()
    replies = at_once(
        [lambda each=each: ask(each, "POST", "/user", "", body)[0] for each in 5 * servers]
    )
    assert Counter(replies) == {201: 1, 409: 14}


def test_sweeps_take_what_is_dead_and_nothing_that_lives(
    servers: list[Process], database: str
) -> None:
    tokens = [servers[0].register(str(uuid.uuid4())) for _ in range(3)]
    shelf = servers[0].kept
    stop = threading.Event()
    kept: list[tuple[str, str]] = []

    def upload_and_delete(number: int) -> int:
        """What goes on; returns how often."""
        for turn in range(10**6):
            if stop.is_set():
                return turn
            token = tokens[number % 3]
            path = servers[number % 3].upload(token)
            if turn == 0:
                kept.append((token, path))
            else:
                assert servers[(number + 1) % 3].delete(token, path) == 204
        raise AssertionError

    with ThreadPoolExecutor(6) as clients:
        running = [clients.submit(upload_and_delete, number) for number in range(6)]
        try:
            for _ in range(4):
                dead = str(shelf.abandon(uuid.uuid4()))
                await_true(lambda dead=dead: dead not in str(shelf.unfinished()))  # type: ignore[misc]
        finally:
            stop.set()  # else the pool waits for them, for ever
        assert all(each.result() for each in running)
    for token, path in kept:
        for server in servers:
            assert ask(server, "GET", path)[0] == 200
        assert servers[0].delete(token, path) == 204
    assert ", 0 faults" in servers[0].check()


def test_old_keys_are_swept_by_whoever_comes_first(
    servers: list[Process], database: str, user: tuple[str, Files]
) -> None:
    token, _ = user
    for key in ("old", "new"):
        assert Sending(servers[0], token, Idempotency_Key=key).end()[0] == 201
    run_apart(
        execute(
            database,
            "UPDATE idempotency_keys SET created_at = now() - interval '25 h' WHERE key = 'old'",
            """DO $$ BEGIN
                FOR turn IN 1..100 LOOP
                    PERFORM pg_sleep(0.1);
                    COMMIT;
                    EXIT WHEN NOT EXISTS (SELECT FROM idempotency_keys WHERE key = 'old');
                END LOOP;
                ASSERT NOT EXISTS (SELECT FROM idempotency_keys WHERE key = 'old');
                ASSERT EXISTS (SELECT FROM idempotency_keys WHERE key = 'new');
            END $$""",
        )
    )
