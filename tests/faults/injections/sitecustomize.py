"""Imported by Python itself at the start of every process that has this folder on its PYTHONPATH."""

import importlib
import os
import sys


def _inject() -> None:
    for name in filter(None, os.environ.get("DAYBOOK_TEST_INJECTION", "").split(",")):
        module = importlib.import_module(f"tests.faults.injections.{name}")
        if f"services.{module.ROLE}" in sys.orig_argv:
            module.apply()


_inject()
