"""The same service the plain way: FastAPI, `UploadFile`, ffmpeg on a temporary file,
`FileResponse`.

What most would write in an afternoon, and written well: nothing blocks the event loop, the MP3 has
umusic's quality, metadata are in Postgres, and there are as many workers as cores. Run by
`uvicorn app:app --workers N` with DATABASE_URL, MEDIA_DIR and FFMPEG.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, File, Header, HTTPException, Request, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel
from sqlalchemy import ForeignKey, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.concurrency import run_in_threadpool

MEDIA = Path(os.environ["MEDIA_DIR"])
FFMPEG = os.environ.get("FFMPEG", "ffmpeg")

engine = create_async_engine(os.environ["DATABASE_URL"])
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """The tables."""


class User(Base):
    """Who may upload."""

    __tablename__ = "users"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(unique=True)
    token: Mapped[str] = mapped_column(unique=True)


class Record(Base):
    """An MP3 that is kept."""

    __tablename__ = "records"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    size: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(
        default=lambda: datetime.now(UTC).replace(tzinfo=None)
    )


class Registration(BaseModel):
    """The body of POST /user."""

    name: str


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Makes the tables; one worker after the other."""
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(1)"))
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def session() -> AsyncIterator[AsyncSession]:
    """A session for a request."""
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


async def current_user(session: Session, authorization: Annotated[str, Header()] = "") -> User:
    """Whose token it is."""
    token = authorization.removeprefix("Bearer ")
    user = await session.scalar(select(User).where(User.token == token))
    if user is None:
        raise HTTPException(401, "no such token")
    return user


Caller = Annotated[User, Depends(current_user)]


@app.post("/user", status_code=201)
async def register(registration: Registration, session: Session) -> dict[str, str]:
    """Registers a user."""
    user = User(name=registration.name, token=secrets.token_urlsafe(32))
    session.add(user)
    await session.commit()
    return {"id": str(user.id), "token": user.token}


@app.post("/record", status_code=201)
async def upload(
    request: Request, file: Annotated[UploadFile, File()], user: Caller, session: Session
) -> dict[str, Any]:
    """Takes a WAV, and answers when its MP3 is there."""
    record = Record(id=uuid.uuid4(), user_id=user.id, name=file.filename or "record.wav", size=0)
    mp3 = MEDIA / str(user.id) / f"{record.id}.mp3"
    mp3.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".wav") as wav:
        await run_in_threadpool(shutil.copyfileobj, file.file, wav, 2**20)
        wav.flush()
        ffmpeg = await asyncio.create_subprocess_exec(
            *(FFMPEG, "-v", "error", "-y", "-i", wav.name),
            *("-c:a", "libmp3lame", "-q:a", "2", str(mp3)),
            stdin=asyncio.subprocess.DEVNULL,
        )
        if await ffmpeg.wait() != 0:
            mp3.unlink(missing_ok=True)
            raise HTTPException(415, "not a WAV")
    record.size = mp3.stat().st_size
    session.add(record)
    await session.commit()
    link = f"{request.base_url}record?id={record.id}&user={user.id}"
    return {"id": str(record.id), "link": link, "size": record.size}


@app.get("/record")
async def download(id: uuid.UUID, user: uuid.UUID, session: Session) -> FileResponse:
    """Sends an MP3."""
    record = await session.get(Record, id)
    if record is None or record.user_id != user:
        raise HTTPException(404, "no such record")
    return FileResponse(MEDIA / str(user) / f"{id}.mp3", media_type="audio/mpeg")


@app.get("/records")
async def records(
    user: Caller, session: Session, offset: int = 0, limit: int = 100
) -> dict[str, Any]:
    """A page of a user's records, newest first."""
    mine = select(Record).where(Record.user_id == user.id)
    page = mine.order_by(Record.created_at.desc(), Record.id).offset(offset).limit(limit)
    return {
        "records": [
            {"id": str(row.id), "name": row.name, "size": row.size, "created_at": row.created_at}
            for row in await session.scalars(page)
        ],
    }
