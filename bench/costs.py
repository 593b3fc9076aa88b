"""What uploads and requests cost: the figures that docs/scale.md and the simulation reckon with.

In seconds of processor and bytes of memory, apart for umusic itself, its ffmpegs, Postgres and
nginx: another load on the machine moves these little. Takes three minutes, and writes `costs.json`.

    python -m bench.costs [--quick] [--out FILE] [PART...]
"""

import argparse
import asyncio
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

from bench import machine
from bench.encoding import encoding
from bench.load import Load, Planned, loading
from bench.rounds import FULL, QUICK, Scale
from bench.sides import Bench, Server, bench
from bench.simulation.costs import CD
from bench.stalled import buffered, stalled
from bench.watch import Watch, cpu, memory, own_cpu
from bench.wavs import music
from bench.wrk import wrk
from tests.front import Nginx
from tests.rows import add_rows, connected
from umusic.library.database import Database

OUT = Path(__file__).with_name("costs.json")
#: All of them are one user's.
_UNLIMITED = {"max_uploads": "1024", "uploads_per_user": "1024", "encoders": "2"}
_STALLED, _QUICK_STALLED = 200, 20
_RECORDS = 10_000
#: As the log of Postgres tells of one: in the simple protocol, and in the extended one.
_STATEMENT = re.compile(r"LOG:  (statement: |execute )")
#: Ends all connections but the one that says so: settings of a database concern new ones.
_FORGET = """
    SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
    WHERE datname = 'umusic_bench' AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Postgres:
    """The Postgres of the bench: its main process, and its log."""

    pid: int
    log: Path

    @classmethod
    def of(cls, url: str) -> "Postgres":
        """Asks it where it is."""

        async def directory() -> str:
            async with connected(url) as connection:
                return str(await connection.fetchval("SHOW data_directory"))

        data = Path(asyncio.run(directory()))
        pid = int((data / "postmaster.pid").read_text().split()[0])
        return cls(pid, data.parent / "postgres.log")

    def statements(self, url: str, ask: Callable[[], object], times: int = 10) -> float:
        """What one call of `ask` has umusic say to it, once its connections are open."""
        asyncio.run(_execute(url, "ALTER DATABASE umusic_bench SET log_statement = 'all'"))
        asyncio.run(_execute(url, _FORGET))
        for _ in range(2):  # what is said for a new connection
            ask()
        begin = self.log.stat().st_size
        for _ in range(times):
            ask()
        log = self.log.read_bytes()[begin:].decode(errors="replace")
        asyncio.run(_execute(url, "ALTER DATABASE umusic_bench RESET log_statement"))
        asyncio.run(_execute(url, _FORGET))
        return len([line for line in log.splitlines() if _STATEMENT.search(line)]) / times


async def _execute(url: str, statement: str) -> None:
    async with connected(url) as connection:
        await connection.execute(statement)


def main() -> None:
    """Measures, and writes; of parts that are not measured again, what there was stays."""
    parser = argparse.ArgumentParser(prog="python -m bench.costs")
    parser.add_argument("parts", nargs="*", choices=[*_PARTS, []], metavar="PART")
    parser.add_argument("--quick", action="store_true", help="see that it works")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    found = json.loads(options.out.read_text()) if options.parts else {}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with bench() as opened, loading() as load:
        where = Where(opened, load, Postgres.of(opened.postgres), scale)
        for part in options.parts or _PARTS:
            about = machine.about(baseline=False)
            found[part] = {**_PARTS[part](where), "load before": about.pop("load before")}
            found["about"] = about
            options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
            print(part, json.dumps(found[part], indent=1), flush=True)


@dataclass(frozen=True)
class Where:
    """Where it is measured, by whom, and how much."""

    bench: Bench
    load: Load
    postgres: Postgres
    scale: Scale


def segments(where: Where) -> dict[str, float]:
    """Of ffmpegs."""
    return encoding(where.bench.scratch, where.scale)


def uploads(where: Where) -> dict[str, float]:
    """Of umusic itself, Postgres and the sender, for each upload and each MB."""
    bench, load, postgres, scale = where.bench, where.load, where.postgres, where.scale
    times, rounds = (10, 1) if scale.quick else (100, 3)
    small = music(bench.scratch / "small.wav", 1)
    large = music(bench.scratch / "large.wav", 30 if scale.quick else 300)
    with bench.umusic(**_UNLIMITED) as umusic:
        request = umusic.uploading()
        load.upload(request, small)
        spent, written = Spent(umusic, postgres), asyncio.run(_wal(umusic.database_url))
        for _ in range(times):
            load.upload(request, small)
        one = spent.each(times)
        wal = (asyncio.run(_wal(umusic.database_url)) - written) / times
        spent = Spent(umusic, postgres)
        sending = sum(load.follow(request, [Planned(0.0, large)])[1] for _ in range(rounds))
        fast = spent.each(rounds * _megabytes(large))
        slow = _paced(umusic, postgres, load, 1e6, 2 if scale.quick else 12)
        live = _paced(umusic, postgres, load, CD, 2 if scale.quick else 30)
        asked = postgres.statements(umusic.database_url, partial(load.upload, request, small))
    upload = one["umusic"] - fast["umusic"] * _megabytes(small)
    return {
        "umusic s an upload": upload,
        "umusic s a MB, fast": fast["umusic"],
        "umusic s a MB, at 1 MB/s": slow["umusic"],
        "umusic s a MB, as it is recorded": live["umusic"],
        "ffmpegs s a MB, fast": fast["ffmpegs"],
        "ffmpegs s a MB, at 1 MB/s": slow["ffmpegs"],
        "ffmpegs s a MB, as it is recorded": live["ffmpegs"],
        "sender s a MB": sending / rounds / _megabytes(large),
        "postgres s an upload": one["postgres"],
        "statements an upload": asked,
        "WAL bytes an upload": wal,
    }


def _paced(
    umusic: Server, postgres: Postgres, load: Load, pace: float, count: int
) -> dict[str, float]:
    """For each MB of so many uploads at once that last for some seconds."""
    seconds = 3 if count < 10 else 12
    wav = music(umusic.media.parent / "paced.wav", seconds * pace / CD)
    spent = Spent(umusic, postgres)
    load.upload(umusic.uploading(), wav, pace=pace, count=count)
    return spent.each(count * _megabytes(wav))


def _megabytes(wav: Path) -> float:
    return wav.stat().st_size / 1e6


async def _wal(url: str) -> int:
    async with connected(url) as connection:
        return int(await connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'"))


class Spent:
    """Seconds of processor since it was made."""

    def __init__(self, umusic: Server, postgres: Postgres) -> None:
        self._umusic, self._postgres = umusic.pid, postgres.pid
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        own = own_cpu(self._umusic)
        return {
            "umusic": own,
            "ffmpegs": cpu(self._umusic) - own,
            "postgres": cpu(self._postgres),
        }

    def each(self, count: float) -> dict[str, float]:
        """By so many."""
        return {who: (now - self._before[who]) / count for who, now in self._now().items()}


def held(where: Where) -> dict[str, float]:
    """Bytes of umusic with nothing to do, and more for each upload: one that has sent its header
    and no sound, one at 1 MB/s."""
    bench, load, scale = where.bench, where.load, where.scale
    count = _QUICK_STALLED if scale.quick else _STALLED
    with bench.umusic(**_UNLIMITED) as umusic:
        load.upload(umusic.uploading(), music(bench.scratch / "small.wav", 1))
        idle = memory(umusic.pid)
        with stalled(umusic.uploading(), count):
            waiting = (memory(umusic.pid) - idle) / count
    sending, seconds = (4, 4) if scale.quick else (12, 12)
    with bench.umusic(**_UNLIMITED) as umusic:
        wav = music(bench.scratch / "paced.wav", seconds * 1e6 / CD)
        watch = Watch(umusic.pid)
        load.upload(umusic.uploading(), wav, pace=1e6, count=sending)
        most = watch.stop().memory
    return {
        "umusic": idle,
        "an upload that waits": waiting,
        f"{sending} at 1 MB/s": most,
        "bytes in sockets": buffered(),
    }


def through_nginx(where: Where) -> dict[str, float]:
    """Of nginx, for each MB that passes and for each upload that waits."""
    bench, load, scale = where.bench, where.load, where.scale
    count = _QUICK_STALLED if scale.quick else _STALLED // 2
    wav = music(bench.scratch / "take.wav", 10 if scale.quick else 300)
    with bench.umusic(**_UNLIMITED) as umusic:
        prefix = bench.scratch / "costs-nginx"
        front = Nginx(prefix, upstream=umusic.url.removeprefix("http://"), media=umusic.media)
        with front.running():
            pid = int((prefix / "nginx.pid").read_text())
            request = umusic.uploading(front.url)
            load.upload(request, wav)
            before, idle = cpu(pid), memory(pid)
            for _ in range(scale.rounds):
                load.upload(request, wav)
            seconds = (cpu(pid) - before) / scale.rounds / (wav.stat().st_size / 1e6)
            with stalled(request, count):
                each = (memory(pid) - idle) / count
    shutil.rmtree(prefix)
    return {"s a MB": seconds, "bytes an upload that waits": each}


def requests(where: Where) -> dict[str, dict[str, float]]:
    """Of each kind of request: seconds of umusic and Postgres, statements, requests a second. None
    without wrk."""
    if shutil.which("wrk") is None:
        print("wrk is not installed (apt-get install wrk): requests are left out.", flush=True)
        return {}
    bench, load, postgres = where.bench, where.load, where.postgres
    seconds = 1 if where.scale.quick else 4
    with bench.umusic(x_accel_prefix="/_media/") as umusic:
        sent = load.upload(umusic.uploading(), music(bench.scratch / "small.wav", 1))[0]
        asyncio.run(_fill(umusic))
        link = str(json.loads(sent.body)["link"]).removeprefix(umusic.url)
        paths = {
            "link": link,
            "info": link.replace("/record?", "/record/info?"),
            "page of 50": "/records",
            "healthz": "/healthz",
        }
        found = {}
        for name, path in paths.items():
            url, headers = umusic.url + path, {"Authorization": f"Bearer {umusic.token}"}
            ask = partial(_fetch, Request(url, headers=headers))
            asked = postgres.statements(umusic.database_url, ask)
            wrk(url, 1, headers)
            spent = Spent(umusic, postgres)
            done = wrk(url, seconds, headers)
            each = spent.each(done.requests)
            found[name] = {
                "umusic s": each["umusic"],
                "postgres s": each["postgres"],
                "statements": asked,
                "requests/s": done.rate,
            }
    return found


def _fetch(request: Request) -> None:
    with urlopen(request) as reply:
        reply.read()


async def _fill(umusic: Server) -> None:
    database = Database(umusic.database_url)
    await add_rows(database, umusic.user, _RECORDS)
    await database.close()


#: In the order of the file.
_PARTS: dict[str, Callable[[Where], Mapping[str, object]]] = {
    "encoding": segments,
    "uploads": uploads,
    "memory": held,
    "nginx": through_nginx,
    "requests": requests,
}


if __name__ == "__main__":
    main()
