"""Schemathesis over what umusic says of itself: requests by the thousand, made from /openapi.json.

No status, media type, header or body may come back that is not described, and none may be 500. What
it has to be told is in `tests/api`. `make api-test` has it ask more, and shows what it says.
"""

import asyncio
import os
import sys

import pytest

from tests import leaks
from tests.client import Client, as_json
from tests.process import ROOT
from tests.wavs import take

COMMAND = [sys.executable, "-m", "schemathesis.cli", "--config-file", "tests/api/schemathesis.toml"]
#: All that is told of each parameter and body is tried at its limits; beyond, so many by chance.
SHORT = ["--phases=examples,coverage,fuzzing,stateful", "--max-examples=3"]
LONG = ["--phases=examples,coverage,fuzzing,stateful", "--max-examples=200"]


async def schemathesis(client: Client, *args: str) -> tuple[int, str]:
    """Its status, and what it says."""
    user = await client.register("Schemathesis")
    record = as_json(await client.upload(user, take(0.1)))
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "run", f"{client.site}/openapi.json", "--no-color", *args),
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "API_BASE": client.site,
            "API_TOKEN": user.token,
            "API_USER": user.id,
            "API_RECORD": record["id"],
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert not leaks.tokens_in(output.decode())
    return process.returncode or 0, output.decode()


@pytest.mark.gen_test(timeout=120)
async def test_what_umusic_does_is_what_it_says(client: Client) -> None:
    status, output = await schemathesis(client, *SHORT)
    assert status == 0, output


@pytest.mark.api
@pytest.mark.gen_test(timeout=900)
async def test_what_umusic_does_is_what_it_says_at_length(client: Client) -> None:
    status, output = await schemathesis(client, *LONG)
    print(output)
    assert status == 0
