"""What a workflow says about its input: a graph may have a JSON schema for it, "input_schema" in "meta"."""

from shared.application.schemas import UnusableSchema, schema_of
from shared.domain.graph import Graph
from shared.domain.values import Json


def input_problem(graph: Graph, given: Json) -> str | None:
    """Why the input does not fit, None when it does, or when nothing is asked of it."""
    meta = graph.document.get("meta")
    schema = meta.get("input_schema") if isinstance(meta, dict) else None
    if not isinstance(schema, dict):
        return None
    try:
        return schema_of(schema).problem(given)
    except UnusableSchema:
        return None  # it binds nobody; publishing it is where it is refused
