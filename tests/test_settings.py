"""The settings."""

import os
import re
from pathlib import Path

import pytest

from umusic import settings
from umusic.errors import StartError

ROOT = Path(__file__).parents[1]
#: Settings that the containers have of their own: from the image, or not at all.
NOT_IN_COMPOSE = {"HOST", "PORT", "DATA_DIR", "MEDIA_DIR", "FFMPEG"}


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
        ("DATABASE_URL", "postgres://u:p@h/d", "database_url", "postgresql://u:p@h/d"),
        (
            "DATABASE_URL",
            "postgresql://u:p/%20?#:1@h/d",
            "database_url",
            "postgresql://u:p%2F%20%3F%23%3A1@h/d",
        ),
        (
            "DATABASE_URL",
            "postgresql://h/d?sslmode=require",
            "database_url",
            "postgresql://h/d?sslmode=require",
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


class TestOfSecrets:
    @pytest.fixture(autouse=True)
    def secrets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        directory = tmp_path / "secrets"
        directory.mkdir()
        monkeypatch.setattr(settings, "SECRETS", directory)
        return directory

    def test_a_file_of_its_name_is_a_setting_without_the_end_of_its_line(
        self, secrets: Path
    ) -> None:
        (secrets / "umusic_database_url").write_text("postgresql://u:p@h/d\n")
        assert settings.load().database_url == "postgresql://u:p@h/d"

    def test_the_environment_and_the_env_file_win_unless_they_are_empty(
        self, secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("host", "port", "ffmpeg"):
            (secrets / f"umusic_{name}").write_text("1")
        (tmp_path / ".env").write_text("UMUSIC_PORT=2\n")
        monkeypatch.setenv("UMUSIC_FFMPEG", "/f")
        monkeypatch.setenv("UMUSIC_HOST", "")
        loaded = settings.load()
        assert (loaded.host, loaded.port, str(loaded.ffmpeg)) == ("1", 2, "/f")

    def test_what_is_none_of_ours_is_left_alone(self, secrets: Path) -> None:
        (secrets / "kubernetes.io" / "serviceaccount").mkdir(parents=True)
        (secrets / "postgres_password").write_text("x")
        assert settings.load().port == 8000

    def test_unknown_and_wrong_ones_are_told_with_their_names_but_not_what_they_are(
        self, secrets: Path
    ) -> None:
        (secrets / "umusic_databse_url").write_text("s3cret")
        (secrets / "umusic_database_url").write_text("mysql://s3cret")
        with pytest.raises(StartError) as caught:
            settings.load()
        lines = sorted(line.partition(":")[0] for line in str(caught.value).splitlines())
        assert lines == ["UMUSIC_DATABASE_URL", "UMUSIC_DATABSE_URL"]
        assert "s3cret" not in str(caught.value)

    def test_one_that_cannot_be_read_is_told(self, secrets: Path) -> None:
        (secrets / "umusic_database_url").write_bytes(b"\xff")
        with pytest.raises(StartError, match=r"secrets cannot be read: .*utf-8"):
            settings.load()

    def test_without_the_directory_nothing_is_missed(self, secrets: Path) -> None:
        secrets.rmdir()
        assert settings.load().database_url is None


class TestOfTheClient:
    @pytest.fixture(autouse=True)
    def config(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        path = settings.config_file()
        path.parent.mkdir(parents=True)
        return path

    def test_without_any_the_server_is_the_one_of_make_run(self) -> None:
        loaded = settings.load_client()
        assert (str(loaded.server), loaded.token) == ("http://127.0.0.1:8000/", None)

    def test_options_go_before_the_environment_and_that_before_the_file(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config.write_text('server = "https://a.example/music"\ntoken = "from the file"\n')
        loaded = settings.load_client(server=None, token=None)
        assert (str(loaded.server), loaded.token) == ("https://a.example/music", "from the file")
        Path(".env").write_text("UMUSIC_TOKEN=from .env\nUMUSIC_PORT=80\n")
        assert settings.load_client().token == "from .env"
        monkeypatch.setenv("UMUSIC_TOKEN", "from the environment")
        assert settings.load_client().token == "from the environment"
        loaded = settings.load_client(token="from an option\r\n", server="http://b.example")
        assert (str(loaded.server), loaded.token) == ("http://b.example/", "from an option")

    def test_one_that_is_unknown_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UMUSIC_SERVR", "http://a.example")
        with pytest.raises(StartError, match="UMUSIC_SERVR"):
            settings.load_client()

    def test_the_server_does_not_mind_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UMUSIC_TOKEN", "t")
        monkeypatch.setenv("UMUSIC_SERVER", "http://a.example")
        settings.load()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('tokn = "x"', ["no setting tokn", "server, token"]),
            ("token = ", ["config.toml", "cannot be read"]),
            ("token = 7", ["UMUSIC_TOKEN"]),
            ('token = "Токен"', ["UMUSIC_TOKEN", "characters that no token has"]),
            ('server = "http://user:pw@a.example"', ["UMUSIC_SERVER", "without"]),
            ('server = "localhost:8000"', ["UMUSIC_SERVER"]),
            ('server = "ftp://a.example"', ["UMUSIC_SERVER"]),
            ('server = "http://a.example/?x=1"', ["UMUSIC_SERVER", "without ? and #"]),
        ],
    )
    def test_what_is_wrong_is_told_with_its_name(
        self, config: Path, text: str, words: list[str]
    ) -> None:
        config.write_text(text)
        with pytest.raises(StartError) as caught:
            settings.load_client()
        for word in words:
            assert word in str(caught.value)


def test_there_are_as_many_encoders_as_cores_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().encoders == settings.cores()
    monkeypatch.setenv("UMUSIC_ENCODERS", "3")
    assert settings.load().encoders == 3


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 2), ("150000 100000", 2), ("100000 100000", 1), ("1000 100000", 1), ("?", 2)],
)
def test_a_container_has_as_many_cores_as_its_quota_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    told = tmp_path / "cpu.max"
    told.write_text(quota + "\n")
    assert settings.cores(told) == expected
    assert settings.cores(tmp_path / "missing") == 2


def test_the_example_the_papers_and_the_containers_know_all_settings() -> None:
    names = {name.upper() for name in settings.Settings.model_fields}
    example, compose = (
        (ROOT / ".env.example").read_text(),
        (ROOT / "docker-compose.yml").read_text(),
    )
    assert names <= set(re.findall(r"^#?UMUSIC_([A-Z0-9_]+)=", example, re.MULTILINE))
    assert names - NOT_IN_COMPOSE == set(
        re.findall(r"^ +UMUSIC_([A-Z0-9_]+):", compose, re.MULTILINE)
    )
    table = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    assert names <= set(re.findall(r"`([A-Z0-9_]+)`", table))


def test_the_example_has_all_that_the_containers_ask_for() -> None:
    files = [
        ROOT / "docker-compose.yml",
        *ROOT.glob("nginx/*/compose.yml"),
        *ROOT.glob("deploy/*.yml"),
    ]
    asked = {name for file in files for name in re.findall(r"\$\{([A-Z0-9_]+)", file.read_text())}
    asked -= {"PWD", "NGINX_FILES"}  # of deploy/stack.sh itself
    assert asked <= set(re.findall(r"^#?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.M))
