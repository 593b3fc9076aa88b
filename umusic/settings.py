"""Every knob of umusic: one frozen object, read once from the environment and `.env`.

Nothing else reads the environment. All faults are reported together, each with the name of its
variable.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, HttpUrl, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from umusic.errors import StartError

PREFIX = "UMUSIC_"
ENV_FILE = ".env"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Bit rates of MPEG-1 Layer III in kbit/s (ISO 11172-3, table of 2.4.2.3).
Bitrate = Literal[32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]


def _split(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _asyncpg_url(value: str | None) -> str | None:
    if value is None:
        return None
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in ("postgres", "postgresql", "postgresql+asyncpg"):
        raise ValueError("write it as postgresql://user:password@host:5432/database")
    # libpq's word for what asyncpg calls ssl.
    return f"postgresql+asyncpg://{rest.replace('sslmode=', 'ssl=')}"


def _bare_url(value: HttpUrl | None) -> HttpUrl | None:
    if value is not None and (value.query or value.fragment):
        raise ValueError("write it without ? and #")
    return value


def _slashed(value: str | None) -> str | None:
    if value is not None and not (value.startswith("/") and value.endswith("/")):
        raise ValueError("write it as a path between slashes, like /_media/")
    return value


def _bitrate(value: object) -> object:
    number = str(value).removesuffix("k")
    return int(number) if number.isdecimal() else value


class Settings(BaseSettings):
    """What an operator can set, each as UMUSIC_<NAME> in the environment or in `.env`."""

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
    database_url: Annotated[str | None, AfterValidator(_asyncpg_url)] = None
    data_dir: Path = Path(".umusic")
    media_dir: Path = Path("media")
    #: What links begin with. Unset: the scheme and host of the request.
    public_url: Annotated[HttpUrl | None, AfterValidator(_bare_url)] = None
    #: Proxies whose X-Forwarded-Proto and X-Forwarded-Host are believed.
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)] = (
        ipaddress.ip_network("127.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )
    #: Set: downloads are answered with X-Accel-Redirect below this path.
    x_accel_prefix: Annotated[str | None, AfterValidator(_slashed)] = None
    #: Unset: the binary of the imageio-ffmpeg wheel.
    ffmpeg: Path | None = None
    mp3_quality: Literal["V0", "V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8", "V9"] = "V2"
    #: kbit/s; set: constant bit rate instead of VBR.
    mp3_bitrate: Annotated[Bitrate | None, BeforeValidator(_bitrate)] = None
    max_upload_bytes: ByteSize = Field(default=ByteSize(16 * 2**30), gt=0, le=2**44)
    #: Uploads at once; above it 503. Each holds one ffmpeg of 32-50 MB.
    max_uploads: int = Field(default=64, ge=1)
    #: Seconds without a byte of the body after which an upload gets 408.
    body_timeout: float = Field(default=60, gt=0)
    #: Seconds that running uploads get to end when umusic is told to stop.
    drain_seconds: float = Field(default=30, ge=0)


def load() -> Settings:
    """Reads the settings.

    Raises:
        StartError: a setting is unknown or wrong; the message names all of them.
    """
    faults = [_unknown(name) for name in _given_names() if name not in _known_names()]
    try:
        settings = Settings()
    except ValidationError as exc:
        faults += [_fault(error["loc"], error["msg"]) for error in exc.errors()]
        raise StartError("\n".join(dict.fromkeys(faults))) from exc
    if faults:
        raise StartError("\n".join(faults))
    return settings


def _known_names() -> set[str]:
    return {PREFIX + name.upper() for name in Settings.model_fields}


def _given_names() -> list[str]:
    names = {name.upper() for name in (*os.environ, *dotenv_values(ENV_FILE))}
    return sorted(name for name in names if name.startswith(PREFIX))


def _unknown(name: str) -> str:
    return f"{name}: there is no such setting. There are: {', '.join(sorted(_known_names()))}."


def _fault(location: tuple[str | int, ...], message: str) -> str:
    name = str(location[0]).upper()
    return f"{name if name.startswith(PREFIX) else PREFIX + name}: {message}."
