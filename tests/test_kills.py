"""kill -9 of umusic between any two steps: nothing acknowledged is lost, and nothing is left."""

import json
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.storm import await_true
from tests.mortal import DELETING, DIE_AT, UPLOADING
from tests.process import Process
from tests.stores import files_in
from tests.wavs import take


def links(umusic: Process, token: str) -> list[str]:
    """The links of a library, without scheme and host."""
    with closing(umusic.connect()) as connection:
        connection.request("GET", "/records", headers={"Authorization": f"Bearer {token}"})
        items = json.load(connection.getresponse())["items"]
        return [item["link"].partition(f":{umusic.port}")[2] for item in items]


def status_of(umusic: Process, path: str) -> int:
    with closing(umusic.connect()) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


@pytest.mark.parametrize("moment", [*UPLOADING, *DELETING])
def test_a_kill_at_any_moment_loses_nothing_and_leaves_nothing(
    start: Any, directory: Path, moment: str
) -> None:
    first = start(program="tests.mortal")
    token = first.register("Ann")
    promised, other = first.upload(token), first.upload(token)
    (directory / DIE_AT).write_text(moment)
    if moment in UPLOADING:
        with pytest.raises((OSError, HTTPException)):
            first.put(token, take(0.5))
    else:
        assert first.delete(token, other) is None
    assert first.wait()[0] == -9
    assert not (directory / DIE_AT).exists()
    second = start(program="tests.mortal")
    # One that was committed is there, though nobody has heard of it; one that was not is not.
    count = {"after the commit": 3, "before the file goes": 1, "while the file goes": 1}
    assert len(links(second, token)) == count.get(moment, 2)
    # Once a sweep has come by, which waits for the lease of the dead.
    await_true(lambda: len(second.kept.names()) == len(links(second, token)))
    await_true(lambda: not second.kept.unfinished())
    assert not files_in(second.media, ".part")
    for link in links(second, token):
        assert status_of(second, link) == 200
    assert promised in links(second, token)
    assert ", 0 faults" in second.check()
    assert second.delete(token, "/user") == 204
    assert second.kept.is_empty
    assert second.stop()[0] == 0
