"""Blueprints from files: each `*.py` of a folder is loaded by its path and known by its content."""

import importlib.util
import sys
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from daybook.blueprint.blueprint import Blueprint
from daybook.errors import BlueprintError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A blueprint, its graph, and the file and SHA-256 of the code that it came from."""

    blueprint: Blueprint
    graph: dict[str, Any]
    file: str
    sha256: str


@dataclass(slots=True)
class Catalog:
    """What a folder holds. A file or blueprint with a problem is left out, and the others work."""

    blueprints: dict[str, Loaded] = field(default_factory=dict)
    problems: list[BlueprintError] = field(default_factory=list)


def load_blueprints(folder: Path) -> Catalog:
    """Load every `*.py` in `folder` (not below it) whose name does not begin with an underscore."""
    catalog = Catalog()
    for file in sorted(folder.glob("*.py")):
        if not file.name.startswith("_"):
            load_file(file, catalog)
    return catalog


def load_file(file: Path, catalog: Catalog) -> None:
    """Load one file into `catalog`: all Blueprint objects at the top of its module."""
    digest = sha256(file.read_bytes()).hexdigest()
    module_name = f"daybook_blueprints.{file.stem}_{digest[:12]}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # inspect finds a handler's source by its module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a user's file does is its own problem)
        del sys.modules[module_name]
        catalog.problems.append(BlueprintError(file.name, f"the file cannot be loaded: {error!r}"))
        return
    found = [value for value in vars(module).values() if isinstance(value, Blueprint)]
    for blueprint in dict.fromkeys(found):
        known = catalog.blueprints.get(blueprint.name)
        if known is not None:
            text = f"it is in two files, {known.file} and {file.name}"
            catalog.problems.append(BlueprintError(blueprint.name, text))
            continue
        try:
            graph = blueprint.graph()
        except BlueprintError as error:
            catalog.problems.append(error)
            continue
        catalog.blueprints[blueprint.name] = Loaded(blueprint, graph, file.name, digest)
