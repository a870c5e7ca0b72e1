"""Blueprints from files: each `*.py` of a folder is loaded by its path and known by its content."""

import linecache
import sys
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from daybook.blueprint.blueprint import Blueprint
from daybook.errors import BlueprintError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A blueprint, its graph, what is told of it beside that, and the code that it came from."""

    blueprint: Blueprint
    graph: dict[str, Any]
    meta: dict[str, Any]
    file: str
    sha256: str
    source: str


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
    try:
        source = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        catalog.problems.append(BlueprintError(file.name, f"the file cannot be read: {error}"))
        return
    load_source(source, file, str(file), catalog)


def load_source(source: str, file: Path, shown: str, catalog: Catalog) -> None:
    """Load the text of a file into `catalog`. `shown` is what tracebacks call it."""
    digest = sha256(source.encode()).hexdigest()
    module = ModuleType(f"daybook_blueprints.{file.stem}_{digest[:12]}")
    module.__file__ = str(file)
    # inspect finds a handler's source by its module and this cache: the file may be another one by then.
    sys.modules[module.__name__] = module
    linecache.cache[shown] = (len(source), None, source.splitlines(keepends=True), shown)
    try:
        exec(compile(source, shown, "exec"), module.__dict__)  # noqa: S102 (to run it is what it is for)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a user's file does is its own problem)
        del sys.modules[module.__name__]
        catalog.problems.append(BlueprintError(file.name, f"the file cannot be loaded: {error!r}"))
        return
    found = [value for value in vars(module).values() if isinstance(value, Blueprint)]
    for blueprint in dict.fromkeys(found):
        name: Any = blueprint.name  # whatever the file says
        if not isinstance(name, str):
            text = f"the name of a blueprint is a text, not {name!r}"
            catalog.problems.append(BlueprintError(file.name, text))
            continue
        known = catalog.blueprints.get(blueprint.name)
        if known is not None:
            text = f"it is in two files, {known.file} and {file.name}"
            catalog.problems.append(BlueprintError(blueprint.name, text))
            continue
        try:
            graph, meta = blueprint.graph(), blueprint.meta()
            # It is published as JSON: one that cannot be must not keep the others from being told.
            orjson.dumps([blueprint.name, graph, meta])
        except BlueprintError as error:
            catalog.problems.append(error)
            continue
        except Exception as error:  # noqa: BLE001 (whatever a user's blueprint says is its own problem)
            text = f"it cannot be published: {error!r}"
            catalog.problems.append(BlueprintError(ascii(blueprint.name)[1:-1], text))
            continue
        catalog.blueprints[blueprint.name] = Loaded(blueprint, graph, meta, file.name, digest, source)
