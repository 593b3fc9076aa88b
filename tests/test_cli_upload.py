"""`umusic upload` as a user types it."""

import asyncio
import fcntl
import os
import re
import struct
import sys
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.client import Account, Client, as_json
from tests.process import ROOT, Done, umusic
from tests.proxy import Proxy
from tests.warm import Forked
from tests.wavs import take
from umusic.app import Services

Run = Callable[..., Awaitable[Done]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    async def command(*args: str | Path, stdin: bytes = b"", **environment: str) -> Done:
        return await umusic("upload", *args, directory=tmp_path, stdin=stdin, **environment)

    return command


def takes(directory: Path, *names: str) -> list[Path]:
    """WAVs in files of these names."""
    for name in names:
        (directory / name).write_bytes(take(0.2))
    return [directory / name for name in names]


async def names(client: Client, account: Account) -> list[str]:
    listed = as_json(await client.fetch("/records", headers=account.bearer))
    return sorted(item["name"] for item in listed["items"])


@pytest.mark.gen_test
async def test_several_files_arrive_and_their_links_are_told_in_plain_lines(
    client: Client, run: Run, tmp_path: Path
) -> None:
    user = await client.register()
    paths = takes(tmp_path, "a.wav", "Запись 1.wav")
    done = await run(*paths, "--server", client.site, "--token", user.token)
    assert done.status == 0
    lines = done.output.splitlines()
    assert len(lines) == 2
    for path, line in zip(paths, lines, strict=True):
        name, _, link = line.partition(": ")
        assert name == str(path)
        assert (await client.fetch(link)).code == 200
    assert re.fullmatch(r"2 of 2 arrived: 70\.6 kB sent in [\d.]+ s, .+/s\.\n", done.errors)
    assert await names(client, user) == ["a.wav", "Запись 1.wav"]


@pytest.mark.gen_test
async def test_one_that_is_refused_does_not_keep_the_others_back_but_the_status_is_1(
    client: Client, run: Run, tmp_path: Path
) -> None:
    user = await client.register()
    one, two = takes(tmp_path, "1.wav", "2.wav")
    (text := tmp_path / "text.wav").write_text("no sound")
    done = await run(
        *(one, one, text, tmp_path / "missing.wav", tmp_path, two),
        *("--server", client.site, "--token", user.token),
    )
    assert done.status == 1
    link = done.output.splitlines()[0].partition(": ")[2]
    assert [line.partition(": ")[0] for line in done.output.splitlines()] == [str(one), str(two)]
    refused, not_wav, missing, directory, summary = done.errors.splitlines()
    assert refused == (
        f"{one}: This library holds a record of this name already. Choose another name. ({link})"
    )
    assert not_wav.startswith(f"{text}: The body is not a WAV")
    assert missing == f"{tmp_path / 'missing.wav'}: No such file or directory"
    assert directory == f"{tmp_path}: Is a directory"
    assert summary.startswith("2 of 6 arrived, 4 did not: ")


@pytest.mark.gen_test
async def test_a_file_name_gives_the_terminal_no_commands_and_may_be_of_any_bytes(
    client: Client, run: Run, tmp_path: Path
) -> None:
    user = await client.register()
    [red] = takes(tmp_path, "\x1b[31m[bold]\n.wav")
    broken = Path(os.fsdecode(bytes(tmp_path) + b"/\xff.wav"))
    broken.write_bytes(take(0.1))
    done = await run(red, broken, "--server", client.site, "--token", user.token)
    assert done.status == 1
    assert "\x1b" not in done.output + done.errors
    [first, second, _] = done.errors.splitlines()
    assert first.endswith("[bold]\\n.wav: The name holds control characters.")
    assert second.endswith("\\udcff.wav: name is not UTF-8.")


@pytest.mark.parametrize("redirection", ["<&-", "> /dev/full", "| true"])
@pytest.mark.gen_test
async def test_broken_standard_streams_are_a_failure_without_a_traceback(
    client: Client, tmp_path: Path, redirection: str
) -> None:
    user = await client.register()
    takes(tmp_path, "a.wav")
    file = "-" if "<" in redirection else "a.wav"
    command = f"{sys.executable} -m umusic upload {file} {redirection}; exit ${{PIPESTATUS[0]}}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command),
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(tmp_path),
            "UMUSIC_SERVER": client.site,
            "UMUSIC_TOKEN": user.token,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    # 120 is Python's own for what it could not write at the very end.
    assert process.returncode in (1, 120)
    assert "Traceback" not in errors.decode()


@pytest.mark.gen_test
async def test_what_comes_through_a_pipe_arrives_without_a_name(
    client: Client, run: Run, services: Services
) -> None:
    user = await client.register()
    done = await run("-", "--server", client.site, "--token", user.token, stdin=take(2.0))
    assert done.status == 0
    info = done.output.strip().partition(": ")[2].replace("/record?", "/record/info?")
    reply = as_json(await client.fetch(info))
    assert (reply["name"], reply["duration"]) == (None, 2.0)


@pytest.mark.gen_test
async def test_server_and_token_come_from_options_environment_or_file_in_this_order(
    client: Client, run: Run, tmp_path: Path
) -> None:
    ann, ben, cleo = [await client.register(name) for name in ("Ann", "Ben", "Cleo")]
    [path] = takes(tmp_path, "a.wav")
    config = tmp_path / ".config" / "umusic" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'server = "{client.site}"\ntoken = "{ann.token}"\n')
    assert (await run(path)).status == 0
    assert (await run(path, UMUSIC_TOKEN=ben.token)).status == 0
    assert (await run(path, "--token", cleo.token, UMUSIC_TOKEN=ben.token)).status == 0
    for account in (ann, ben, cleo):
        assert await names(client, account) == ["a.wav"]
    elsewhere = await run(path, UMUSIC_SERVER="http://127.0.0.1:9")
    assert elsewhere.status == 1
    assert "http://127.0.0.1:9/ cannot be reached: Connection refused" in elsewhere.errors


@pytest.mark.gen_test
async def test_without_a_token_it_says_where_to_put_one(run: Run, tmp_path: Path) -> None:
    [path] = takes(tmp_path, "a.wav")
    done = await run(path)
    assert (done.status, done.output) == (1, "")
    config = tmp_path / ".config" / "umusic" / "config.toml"
    for word in ("--token", "UMUSIC_TOKEN", str(config)):
        assert word in done.errors
    assert "Traceback" not in done.errors


@pytest.mark.gen_test
async def test_on_a_terminal_there_is_a_bar_with_speed_and_time_left(
    client: Client, tmp_path: Path
) -> None:
    user = await client.register()
    (tmp_path / "long.wav").write_bytes(take(100.0))
    (tmp_path / "text.wav").write_text("no sound")
    status, screen = await on_a_terminal(
        *("upload", "long.wav", "text.wav", "--server", client.site, "--token", user.token),
        directory=tmp_path,
    )
    assert status == 1
    assert re.search(r"long\.wav [━╸╺]+ [\d.]+/17\.6 MB [\d.]+ MB/s \d:\d\d:\d\d", screen)
    assert re.search(r"long\.wav: http://127\.0\.0\.1:\d+/record\?id=\S+&user=\S+", screen)
    assert "text.wav: The body is not a WAV" in screen
    assert "1 of 2 arrived, 1 did not" in screen


async def on_a_terminal(*args: str, directory: Path) -> tuple[int, str]:
    """Runs a command on a terminal of 120 columns; returns all that was shown on it, as text."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
    }
    process = Forked(args, directory, environment, (slave, slave, slave))
    os.close(slave)

    def read() -> bytes:
        shown = b""
        while True:
            try:
                shown += os.read(master, 65536)
            except OSError:  # how Linux tells the end of a terminal
                return shown

    shown = await asyncio.to_thread(read)
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    return process.wait(10), text


@pytest.mark.gen_test
async def test_an_answer_that_is_lost_is_asked_for_again_and_the_record_is_there_once(
    client: Client, run: Run, tmp_path: Path
) -> None:
    user = await client.register()
    [path] = takes(tmp_path, "a.wav")
    # A file is asked for; what came through a pipe is sent again, with its key.
    for file, stdin, lost, method in ((path, b"", 1, "PATCH"), ("-", take(0.3), 2, "PUT")):
        proxy = Proxy(client.site, lost=lost, method=method)
        async with proxy.running() as url:
            done = await run(file, "--server", url, "--token", user.token, stdin=stdin)
        assert (done.status, proxy.connections) == (0, 3), done.errors
        assert done.output.startswith(f"{file}: http://")
    account = as_json(await client.fetch("/user", headers=user.bearer))
    assert account["records"] == 2


class TestRefusals:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"max_upload_bytes": 2**31}

    @pytest.mark.parametrize(
        ("token", "words"),
        [("none", "This token is not known here."), (None, "larger than the 2147483648 bytes")],
    )
    @pytest.mark.gen_test
    async def test_the_servers_sentence_is_shown_and_the_rest_is_not_sent(
        self, client: Client, run: Run, tmp_path: Path, token: str | None, words: str
    ) -> None:
        user = await client.register()
        with (tmp_path / "huge.wav").open("wb") as file:
            file.write(take(0.1)[:44])
            file.truncate(2**30 if token else 2**33)
        done = await run("huge.wav", "--server", client.site, "--token", token or user.token)
        assert done.status == 1
        assert words in done.errors
        sent = re.search(r"0 of 1 arrived, 1 did not: (.+) sent", done.errors)
        assert sent
        assert "GB" not in sent[1]
