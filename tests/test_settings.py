"""The settings."""

from pathlib import Path

import pytest

from umusic import settings
from umusic.errors import StartError


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_set_gives_the_contracts_defaults() -> None:
    knobs = settings.load()
    assert (knobs.host, knobs.port) == ("127.0.0.1", 8000)
    assert knobs.database_url is None
    assert knobs.media_dir == Path("media")
    assert knobs.mp3_quality == "V2"
    assert knobs.max_upload_bytes == 16 * 2**30


def test_the_environment_wins_over_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("UMUSIC_PORT=1\nUMUSIC_HOST=0.0.0.0\nPOSTGRES_PASSWORD=x\n")
    monkeypatch.setenv("UMUSIC_PORT", "2")
    assert (settings.load().port, settings.load().host) == (2, "0.0.0.0")


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("MAX_UPLOAD_BYTES", "2GiB", "max_upload_bytes", 2**31),
        ("MP3_BITRATE", "128k", "mp3_bitrate", 128),
        ("MP3_QUALITY", "V0", "mp3_quality", "V0"),
        ("DATABASE_URL", "postgres://u:p@h/d", "database_url", "postgresql+asyncpg://u:p@h/d"),
        (
            "DATABASE_URL",
            "postgresql://h/d?sslmode=require",
            "database_url",
            "postgresql+asyncpg://h/d?ssl=require",
        ),
        ("X_ACCEL_PREFIX", "/_media/", "x_accel_prefix", "/_media/"),
        ("X_ACCEL_PREFIX", "", "x_accel_prefix", None),
    ],
)
def test_values_are_read_as_people_write_them(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, field: str, value: object
) -> None:
    monkeypatch.setenv(f"UMUSIC_{name}", text)
    assert getattr(settings.load(), field) == value


def test_all_faults_are_told_at_once_each_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {
        "PORT": "eighty",
        "MP3_QUALITY": "best",
        "MP3_BITRATE": "129",
        "DATABASE_URL": "mysql://x",
        "X_ACCEL_PREFIX": "media",
        "PUBLIC_URL": "music",
        "TRUSTED_PROXIES": "10.0.0.0/8 nginx",
        "MAX_UPLOAD_BYTES": "0",
        "PROT": "8000",
    }
    for name, text in wrong.items():
        monkeypatch.setenv(f"UMUSIC_{name}", text)
    (tmp_path / ".env").write_text("UMUSIC_MEDIADIR=/m\n")
    with pytest.raises(StartError) as caught:
        settings.load()
    lines = str(caught.value).splitlines()
    for name in (*wrong, "MEDIADIR"):
        assert any(line.startswith(f"UMUSIC_{name}: ") for line in lines), name
