"""The projector stores its position before the rows, in its own transaction, and dies once in between."""

import os
from collections.abc import Sequence
from pathlib import Path

from tests.faults.injections import replace

ROLE = "projector"
DIE_AT = 40
"""The first batch that reaches this position is lost."""


def apply() -> None:
    from shared.application.ports import StoredCommit
    from shared.readmodels.projection import Projection

    died = Path(os.environ["DAYBOOK_DATA"]) / "the-projector-died"
    project = Projection.project

    def apart(self: Projection, commits: Sequence[StoredCommit]) -> int:
        last = commits[-1].sequence
        if last >= DIE_AT and not died.exists():
            died.touch()
            session = self._session
            with session.transaction():
                session.write("UPDATE meta SET value = ? WHERE name = 'position'", [(last,)])
            os._exit(9)
        return project(self, commits)

    replace(Projection, "project", apart)
