"""Every knob of umusic: a frozen object, read once from the environment, `.env` and the files of
secrets; and another for `umusic upload`, which may be told by a file of the user's own as well.

Nothing else reads the environment. All faults are reported together, each with the name of its
variable.
"""

import contextlib
import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from dotenv import dotenv_values
from platformdirs import user_config_path, user_state_path
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from umusic.errors import StartError

PREFIX = "UMUSIC_"
ENV_FILE = ".env"
#: Where Docker and others put secrets: a file each, umusic_database_url and the like.
SECRETS = Path("/run/secrets")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: A name or an address; what is not ASCII a browser writes as xn--….
_HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")

#: Of the prefix, characters that mean the same in every URL.
_S3_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*/?")
#: In a URL. A / in it is forgiven, an @ is not.
_PASSWORD = re.compile(r"(?P<user>[^:/?#@]*:)(?P<password>[^@]*)(?=@)")

#: Bit rates of MPEG-1 Layer III in kbit/s (ISO 11172-3, table of 2.4.2.3).
Bitrate = Literal[32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]


def _split(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _libpq_url(value: str | None) -> str | None:
    if value is None:
        return None
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", "postgresql+asyncpg"):
        raise ValueError("write it as postgresql://user:password@host:5432/database")
    if found := _PASSWORD.match(rest):
        rest = found["user"] + quote(found["password"], safe="%") + rest[found.end() :]
    if re.split("[/?#]", rest, maxsplit=1)[0].count("@") > 1:
        raise ValueError("write an @ in the password as %40")
    return f"postgresql://{rest}"


def _s3_url(value: str | None) -> str | None:
    if value is not None and not _S3_URL.fullmatch(value):
        raise ValueError("write it as s3://bucket or s3://bucket/prefix")
    return value


def _media_url(value: str | None) -> str | None:
    if value is not None and not (value.startswith("file:///") or _S3_URL.fullmatch(value)):
        raise ValueError("write it as s3://bucket/prefix or file:///path")
    return value


def _bare_url(value: HttpUrl | None) -> HttpUrl | None:
    if value is not None and (value.query or value.fragment or value.username or value.password):
        raise ValueError("write it without ? and #, user and password")
    return value


def _origin(value: str) -> str:
    """As a browser writes it: its own host in small letters, no default port, no slash."""
    if value == "*":
        return value
    try:
        parts = urlsplit(value.lower())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    bare = f"{parts.scheme}://{parts.netloc}"
    known = parts.scheme in ("http", "https") and _HOST.fullmatch(host)
    plain = parts.username is None and not bare.endswith(":")
    if not known or not plain or value.lower().rstrip("/") != bare:
        raise ValueError(f"write {value!r} as scheme://host[:port], like https://music.example.org")
    default = {"http": 80, "https": 443}[parts.scheme]
    return bare.removesuffix(f":{port}") if port == default else bare


def _sendable(value: str | None) -> str | None:
    token = value and value.strip()
    if token and not (token.isascii() and token.isprintable()):
        raise ValueError("it holds characters that no token has")
    return token


def _slashed(value: str | None) -> str | None:
    if value is not None and not (value.startswith("/") and value.endswith("/")):
        raise ValueError("write it as a path between slashes, like /_media/")
    return value


def _bitrate(value: object) -> object:
    number = str(value).removesuffix("k")
    return int(number) if number.isdecimal() else value


def cores(quota_file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores that this process may use: as it is bound to them, and as far as its control group (a
    container with limited processors) has a quota."""
    bound = len(os.sched_getaffinity(0))
    try:
        quota, period = quota_file.read_text().split()
        return min(bound, max(round(int(quota) / int(period)), 1))
    except (OSError, ValueError):  # there is none, or it says "max"
        return bound


Origin = Annotated[str, AfterValidator(_origin)]


class Settings(BaseSettings):
    """What an operator can set, each as UMUSIC_<NAME> in the environment or in `.env`, or as a file
    of that name in small letters in `SECRETS`; the first that has it wins."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_default=False,
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    #: Unset: an embedded PostgreSQL, its data in `data_dir`.
    database_url: Annotated[str | None, AfterValidator(_libpq_url)] = None
    data_dir: Path = Path(".umusic")
    media_dir: Path = Path("media")
    #: Set: s3://bucket/prefix, where the MP3s are kept; `media_dir` is for what is not finished.
    media_url: Annotated[str | None, AfterValidator(_s3_url)] = None
    #: Set: where those are looked for that are not there, while they are moved.
    media_fallback_url: Annotated[str | None, AfterValidator(_media_url)] = None
    #: Unset: that of AWS.
    s3_endpoint: Annotated[HttpUrl | None, AfterValidator(_bare_url)] = None
    s3_region: str = "us-east-1"
    #: Unset: the credentials of the instance.
    s3_access_key: str | None = None
    s3_secret_key: SecretStr | None = None
    #: What links begin with. Unset: the scheme and host of the request.
    public_url: Annotated[HttpUrl | None, AfterValidator(_bare_url)] = None
    #: Proxies whose X-Forwarded-Proto, X-Forwarded-Host and X-Request-ID are believed.
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)] = (
        ipaddress.ip_network("127.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )
    #: Set: downloads are answered with X-Accel-Redirect below this path.
    x_accel_prefix: Annotated[str | None, AfterValidator(_slashed)] = None
    #: Origins whose pages may ask umusic from a browser; "*" is all. Unset: none.
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split)] = ()
    #: Unset: the binary of the imageio-ffmpeg wheel.
    ffmpeg: Path | None = None
    mp3_quality: Literal["V0", "V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8", "V9"] = "V2"
    #: kbit/s; set: constant bit rate instead of VBR.
    mp3_bitrate: Annotated[Bitrate | None, BeforeValidator(_bitrate)] = None
    max_upload_bytes: ByteSize = Field(default=ByteSize(16 * 2**30), gt=0, le=2**44)
    #: What a user's MP3s may have together. Unset: there is no quota.
    user_quota_bytes: ByteSize | None = Field(default=None, gt=0, le=2**62)
    #: Uploads at once; above it 503.
    max_uploads: int = Field(default=64, ge=1)
    #: Uploads at once that one user sends; above it 429.
    uploads_per_user: int = Field(default=16, ge=1)
    #: ffmpegs at once, whatever the number of uploads. Unset: as many as there are cores.
    encoders: int = Field(default_factory=cores, ge=1, le=1024)
    #: Closed: only `umusic user add` makes users.
    registration: Literal["open", "closed"] = "open"
    #: Whether an upload may name another user, in whose library it is filed.
    file_for_others: bool = True
    #: Seconds without a byte of the body after which an upload gets 408.
    body_timeout: float = Field(default=60, gt=0)
    #: Seconds that an upload that is broken off waits to be resumed, after its last progress.
    upload_expiry: float = Field(default=86400, gt=0, le=366 * 86400)
    #: Whether draft-ietf-httpbis-resumable-upload is spoken. Relayed: with interim answers through
    #: proxies as well, of which nginx is none that lets them pass.
    resumable_draft: Literal["off", "on", "relayed"] = "off"
    #: Auto: text if the standard error is a terminal, JSON lines if not.
    log_format: Literal["auto", "json", "text"] = "auto"
    #: Seconds that running uploads get to end when umusic is told to stop.
    drain_seconds: float = Field(default=30, ge=0)


class ClientSettings(BaseSettings):
    """What `umusic upload` needs: from its options, the environment, `.env` or `config_file()`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True
    )

    server: Annotated[HttpUrl, AfterValidator(_bare_url)] = HttpUrl("http://127.0.0.1:8000")
    token: Annotated[str | None, AfterValidator(_sendable)] = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, the strongest first."""
        file = TomlConfigSettingsSource(settings_cls, config_file())
        return init_settings, env_settings, dotenv_settings, file


def config_file() -> Path:
    """Where `umusic upload` looks for `server` and `token`: a file in TOML."""
    return user_config_path("umusic") / "config.toml"


def bookmarks_directory() -> Path:
    """Where `umusic upload` notes which uploads are not at their end."""
    return user_state_path("umusic") / "uploads"


def load() -> Settings:
    """Reads the settings.

    Raises:
        StartError: a setting is unknown or wrong; the message names all of them.
    """
    faults = _unknown_names()
    try:
        settings = Settings(_secrets_dir=SECRETS if SECRETS.is_dir() else None)
    except ValidationError as exc:
        raise StartError("\n".join([*faults, *_faults(exc)])) from exc
    except SettingsError as exc:
        raise StartError(f"A secret in {SECRETS} cannot be read: {exc.__cause__}.") from exc
    if faults:
        raise StartError("\n".join(faults))
    return settings


def load_client(**options: str | None) -> ClientSettings:
    """Reads the settings of `umusic upload`; options that are given go before all.

    Raises:
        StartError: a setting is wrong, or the file cannot be read.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if faults := _unknown_names():
        raise StartError("\n".join(faults))
    try:
        _check_config_file()
        return ClientSettings(**given)  # type: ignore[arg-type]
    except ValidationError as exc:
        raise StartError("\n".join(_faults(exc))) from exc
    except (OSError, ValueError) as exc:
        raise StartError(f"{config_file()} cannot be read: {exc}.") from exc


def _check_config_file() -> None:
    if not config_file().exists():
        return
    known = ClientSettings.model_fields
    for name in tomllib.loads(config_file().read_text("utf-8")):
        if name not in known:
            raise StartError(
                f"{config_file()}: there is no setting {name}. There are: {', '.join(known)}."
            )


def _known_names() -> set[str]:
    both = (*Settings.model_fields, *ClientSettings.model_fields)
    return {PREFIX + name.upper() for name in both}


def _given_names() -> list[str]:
    names = {name.upper() for name in (*os.environ, *dotenv_values(ENV_FILE), *_secrets())}
    return sorted(name for name in names if name.startswith(PREFIX))


def _secrets() -> list[str]:
    with contextlib.suppress(OSError):  # not there; or who needs one is told that it cannot be read
        return os.listdir(SECRETS)
    return []


def _unknown_names() -> list[str]:
    known = _known_names()
    return [
        f"{name}: there is no such setting. There are: {', '.join(sorted(known))}."
        for name in _given_names()
        if name not in known
    ]


def _faults(exc: ValidationError) -> list[str]:
    """A line for each, and none twice: a union tells of all its kinds."""
    found = ((str(error["loc"][0]).upper(), error["msg"]) for error in exc.errors())
    lines = (f"{PREFIX}{name.removeprefix(PREFIX)}: {message}." for name, message in found)
    return list(dict.fromkeys(lines))
