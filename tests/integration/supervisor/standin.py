"""A service that does nothing, for the supervisor to keep: `python standin.py ROLE`.

The folder in STANDIN_FOLDER steers it (`<role>.broken`: exits at once, `<role>.deaf`: does not stop,
`<role>.unset`: refuses its settings) and gets a line in `stopped` for each role that stops.
"""

import asyncio
import os
import sys
from pathlib import Path

from shared.process import Process, run
from shared.settings import Settings, host_port

FOLDER = Path(os.environ["STANDIN_FOLDER"])


async def main(settings: Settings, process: Process) -> None:
    if (FOLDER / f"{process.role}.broken").exists():
        raise RuntimeError("broken on purpose")
    (FOLDER / f"{process.role}.settings").write_text(repr(settings.environment()))
    process.ready()
    await process.stopping.wait()
    if (FOLDER / f"{process.role}.deaf").exists():
        await asyncio.sleep(3600)
    # Raises when the broker is gone before us, which fails the test by a missing line.
    _, writer = await asyncio.open_connection(*host_port(settings.nats_url.removeprefix("nats://")))
    writer.close()
    with (FOLDER / "stopped").open("a") as stopped:
        stopped.write(f"{process.role}\n")


if (FOLDER / f"{sys.argv[1]}.unset").exists():
    sys.exit(2)
run(sys.argv[1], main)
