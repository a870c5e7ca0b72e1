"""The dispatcher dies once between the end of a parent and the cancelling of its child."""

import os
from pathlib import Path
from typing import Any

from tests.faults.injections import replace

ROLE = "dispatcher"


def apply() -> None:
    from services.dispatcher.followup import FollowUp

    died = Path(os.environ["DAYBOOK_DATA"]) / "the-dispatcher-died"
    cancel = FollowUp._cancel_child

    async def die_first(self: FollowUp, *args: Any) -> None:
        if not died.exists():
            died.touch()
            os._exit(9)
        await cancel(self, *args)

    replace(FollowUp, "_cancel_child", die_first)
