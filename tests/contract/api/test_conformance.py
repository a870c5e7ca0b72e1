"""A running server keeps what its OpenAPI document says, whatever schemathesis sends it."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.support.system import CLIENT_TOKEN, System

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
STREAM = "/v1/jobs/{job_id}/events"
"""Does not end while its job runs."""


@pytest.mark.slow
async def test_no_request_made_from_the_document_finds_a_server_that_breaks_it(
    daybook_system: System, tmp_path: Path
) -> None:
    tried = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "--no-color"),
        *("run", f"{daybook_system.http}/openapi.json"),
        *("--header", f"Authorization: Bearer {CLIENT_TOKEN}"),
        *(
            "--exclude-path",
            STREAM,
            "--phases",
            "coverage,fuzzing",
            "--mode",
            "all",
            "--request-timeout",
            "20",
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
    )
    said, _ = await tried.communicate()
    assert tried.returncode == 0, said.decode()
