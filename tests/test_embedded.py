"""PostgreSQL out of a wheel."""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import execute, run_apart
from umusic import embedded
from umusic.errors import StartError


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def alive(pid: int) -> bool:
    """Whether the process runs; one that its new parent has not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_what_was_kept_is_there_after_a_restart(directory: Path) -> None:
    with embedded.postgres(directory) as url:
        run_apart(execute(url, "CREATE TABLE kept (x int)"))
        pid = postmaster(directory)
    assert not alive(pid)
    with embedded.postgres(directory) as url:
        run_apart(execute(url, "SELECT x FROM kept"))


def test_it_listens_on_no_network_and_its_files_are_its_own(data_dir: Path) -> None:
    with embedded.postgres(data_dir):
        sockets = Path(f"/proc/{postmaster(data_dir)}/net/tcp").read_text()
        assert ":1538 " not in sockets  # 5432 in hex
        assert (data_dir / "postgres").stat().st_mode & 0o077 == 0


def test_a_second_umusic_on_the_same_directory_shares_it_or_is_told(data_dir: Path) -> None:
    with embedded.postgres(data_dir) as url:
        with pytest.raises(StartError, match="Another umusic"), embedded.postgres(data_dir):
            pass
        with embedded.postgres(data_dir, share=True) as shared:
            assert shared == url
        run_apart(execute(url, "SELECT 1"))


def test_a_command_may_share_what_is_starting_and_take_over_what_has_ended(
    data_dir: Path,
) -> None:
    held = (data_dir / "lock").open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    letting_go = threading.Timer(0.5, held.close)
    letting_go.start()
    with embedded.postgres(data_dir, share=True) as url:
        assert url
    letting_go.join()


@pytest.mark.parametrize("name", ["x" * 60 + "/" + "y" * 60, "c++ & d%20e, f='g'#h?i"])
def test_a_directory_of_any_name_will_do(directory: Path, name: str) -> None:
    with embedded.postgres(directory / name) as url:
        run_apart(execute(url, "SELECT 1"))


def test_it_dies_with_its_parent_and_starts_again_after(data_dir: Path) -> None:
    program = (
        "import sys, time, pathlib; from umusic import embedded\n"
        "with embedded.postgres(pathlib.Path(sys.argv[1])):\n"
        "    print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(data_dir)], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        pid = postmaster(data_dir)
        parent.kill()
    with embedded.postgres(data_dir) as url:
        assert not alive(pid)
        run_apart(execute(url, "SELECT 1"))


def test_a_stale_pid_file_does_not_keep_it_from_starting(data_dir: Path) -> None:
    with embedded.postgres(data_dir):
        left = (data_dir / "postgres" / "postmaster.pid").read_text()
    # As after a power cut, with the number taken by another process meanwhile.
    stale = left.replace(left.split()[0], "1", 1)
    (data_dir / "postgres" / "postmaster.pid").write_text(stale)
    with embedded.postgres(data_dir) as url:
        run_apart(execute(url, "SELECT 1"))


def test_a_server_that_cannot_start_is_told(data_dir: Path) -> None:
    with (
        pytest.raises(StartError, match=r"postgres\.log"),
        embedded.postgres(data_dir, options={"port": "no number"}),
    ):
        pass


def test_below_a_directory_that_is_closed_to_others_it_runs_as_well(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root, PostgreSQL's own user cannot reach what lies below /root, say."""
    system = directory / "system"
    monkeypatch.setattr(embedded, "_SYSTEM_DIR", system)
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    (closed / "wheel").mkdir()
    package = embedded._wheel_dir()
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, closed / "wheel" / part.name, symlinks=True)
    monkeypatch.setattr(embedded, "_wheel_dir", lambda: closed / "wheel" / package.name)
    for _ in range(2):
        with embedded.postgres(closed / "data") as url:
            run_apart(execute(url, "SELECT 1"))
    assert closed.stat().st_mode & 0o777 == 0o700
    if os.geteuid() == 0:
        assert (closed / "data" / "postgres").readlink().parent.parent == system


def test_it_is_in_no_group_that_the_terminals_sigint_reaches(data_dir: Path) -> None:
    with embedded.postgres(data_dir):
        assert os.getpgid(postmaster(data_dir)) != os.getpgrp()
