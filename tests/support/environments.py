"""Environments of their own for programs from PyPI that cannot be dependencies of the project."""

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path


def environment(variable: str, name: str, requirement: str) -> Path:
    """The folder `bin` of an environment that has `requirement`: where the variable says, else one that is
    made once a machine, under `name` in the folder of temporary files.
    """
    given = os.environ.get(variable)
    home = Path(given) if given else Path(tempfile.gettempdir()) / name
    if not (home / "bin").exists():
        draft = Path(tempfile.mkdtemp(prefix=f"{home.name}-", dir=home.parent))
        subprocess.run([sys.executable, "-m", "venv", str(draft)], check=True)
        install = [str(draft / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement]
        subprocess.run(install, check=True)
        with suppress(OSError):  # somebody else was faster: theirs is as good
            draft.rename(home)
    return home / "bin"
