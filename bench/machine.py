"""What it was measured on, and with what."""

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

from bench.sides import BASELINE_PYTHON, CORES, FFMPEG, ROOT
from tests.front import nginx_binary

_OURS = ("tornado", "sqlalchemy", "asyncpg")
_THEIRS = ("fastapi", "starlette", "uvicorn", "uvloop")


def about(*, baseline: bool = True) -> dict[str, object]:
    """The machine, the versions, the commit, the date."""
    memory = int(_found(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())) / 2**20
    theirs = _baseline_versions() if baseline else {}
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "processor": _found(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()),
        "cores": CORES,
        "memory": f"{memory:.0f} GiB",
        "system": f"Linux {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
        "ffmpeg": _found(r"ffmpeg version (\S+)", _said(FFMPEG, "-version")),
        "nginx": _found(r"nginx/(\S+)", _said(nginx_binary(), "-v")),
        **{name: importlib.metadata.version(name) for name in _OURS},
        **{f"baseline's {name}": version for name, version in theirs.items()},
    }


def _baseline_versions() -> dict[str, str]:
    code = f"import importlib.metadata as m; print(*map(m.version, {_THEIRS}))"
    return dict(zip(_THEIRS, _said(str(BASELINE_PYTHON), "-c", code).split(), strict=True))


def _commit() -> str:
    """The commit that was measured; with a plus if there were changes besides."""
    git = ["git", "-C", str(ROOT)]
    commit = _said(*git, "rev-parse", "--short", "HEAD").strip()
    changed = _said(
        *git, "status", "--porcelain", "--untracked-files=no", "--", "umusic", "bench/*.py"
    )
    return f"{commit}+" if changed.strip() else commit


def _said(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1].strip() if found else "?"
