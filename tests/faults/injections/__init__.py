"""Protections switched off from outside, to show that the rules find what they are there to find.

The product has no switch for this. A process that is started with `injected(name)` in its environment imports
`sitecustomize` of this folder, as Python does with any, and that replaces a few functions in the one role
that the injection is about, before the service is imported.
"""

import os
from pathlib import Path
from typing import Any

VARIABLE = "DAYBOOK_TEST_INJECTION"


def injected(*names: str) -> dict[str, str]:
    """The environment that switches off what the modules of these names are about."""
    here = Path(__file__).resolve().parent
    paths = [str(here), str(here.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), VARIABLE: ",".join(names)}


def replace(owner: object, name: str, value: Any) -> None:
    """Put `value` in the place of what `owner` calls `name`, which must be there to be replaced."""
    assert hasattr(owner, name), f"{owner!r} has no {name}: this injection does nothing any more"
    setattr(owner, name, value)
