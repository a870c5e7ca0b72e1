"""Settings of workers and clients that come from the environment."""

import os
from pathlib import Path

from daybook.errors import DaybookError


def secret(name: str) -> str:
    """The variable `name`, or the first line of the file that `name`_FILE names; "" when there is neither."""
    value = os.environ.get(name)
    if value is not None:
        return value
    file = os.environ.get(f"{name}_FILE")
    if not file:
        return ""
    try:
        return Path(file).read_text().partition("\n")[0].strip()
    except OSError as error:
        raise DaybookError(f"{name}_FILE: cannot read {file}: {error.strerror}") from error
