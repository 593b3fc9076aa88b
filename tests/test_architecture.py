"""The floors of the house: who may import whom, and which library belongs where."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "umusic"
MODULES = sorted(ROOT.rglob("*.py"))

#: From the top down; a module imports from its own floor and from those below.
FLOORS = [
    ["umusic.__main__"],
    ["umusic.cli"],
    ["umusic.server"],
    ["umusic.app"],
    ["umusic.web"],
    ["umusic.library"],
    ["umusic.audio"],
    ["umusic.leaving"],
    ["umusic.client", "umusic.embedded", "umusic.listening", "umusic.settings"],
    ["umusic.resuming"],
    ["umusic.bookmarks", "umusic.files", "umusic.line"],
    ["umusic.upload_errors", "umusic.waveform_errors", "umusic.resumable_errors"],
    ["umusic.errors", "umusic.logs", "umusic.metrics"],
]
#: Where a library may be imported.
HOMES = {
    "tornado": ("web", "app", "server", "leaving", "listening", "cli"),
    "sqlalchemy": ("library", "app"),
    "asyncpg": ("library", "app"),
    "alembic": ("library",),
    "obstore": ("library",),
    "botocore": ("library",),
    "subprocess": ("audio", "embedded"),
    "multipart": ("web",),
    "http_sf": ("web",),
    "typer": ("cli",),
    "rich": ("cli",),
    "prometheus_client": ("metrics",),
    "PIL": ("audio",),
    "structlog": ("logs",),
}


def name_of(path: Path) -> str:
    name = ".".join(("umusic", *path.relative_to(ROOT).with_suffix("").parts))
    return name.removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(module: str) -> int | None:
    for number, rooms in enumerate(FLOORS):
        if any(module == room or module.startswith(room + ".") for room in rooms):
            return number
    return None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    own = floor(name_of(path))
    for imported in imports(path):
        other = floor(imported)
        if own is not None and other is not None:
            assert own <= other, f"{name_of(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_web_and_audio_meet_only_in_the_library(path: Path) -> None:
    if name_of(path).startswith("umusic.web"):
        assert not [name for name in imports(path) if name.startswith("umusic.audio")]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_library_stays_in_its_room(path: Path) -> None:
    room = ([*name_of(path).split("."), ""])[1]
    for imported in imports(path):
        home = HOMES.get(imported.partition(".")[0])
        assert home is None or room in home, f"{name_of(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    if name_of(path) != "umusic.settings":
        assert not re.search(r"os\.environ|getenv", path.read_text())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_status_code_stands_below_the_web(path: Path) -> None:
    if not name_of(path).startswith("umusic.web"):
        numbers = [
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant)
        ]
        assert not [number for number in numbers if number in (404, 409, 413, 415, 422, 503, 507)]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_documented_and_stay_small(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{name_of(path)} says not what it is for"
    assert len(path.read_text().splitlines()) <= 350
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            assert node.end_lineno - node.lineno < 60, f"{name_of(path)}.{node.name} is long"
