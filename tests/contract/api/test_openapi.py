"""The OpenAPI document says what the server does."""

from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute

from services.api.http import routers_of
from services.api.problems import KINDS
from tests.unit.api.world import world

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


async def document() -> dict[str, Any]:
    async with world() as w, w.client(None) as client:
        answer = await client.get("/openapi.json")
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found


async def test_every_route_is_documented() -> None:
    paths = (await document())["paths"]
    async with world() as w:
        routes = {
            (m, r.path)
            for r in (r for router in routers_of(w.parts) for r in router.routes)
            if isinstance(r, APIRoute)
            for m in r.methods or ()
        }
        routes |= set(w.server.hot_routes)
    documented = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    assert documented == routes


async def test_every_reference_leads_somewhere() -> None:
    found = await document()
    schemas = found["components"]["schemas"]

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            inside = [r for part in value.values() for r in references(part)]
            return [*inside, value["$ref"]] if isinstance(value.get("$ref"), str) else inside
        if isinstance(value, list):
            return [r for part in value for r in references(part)]
        return []

    assert {r.removeprefix("#/components/schemas/") for r in references(found)} <= set(schemas)


async def test_every_operation_may_answer_with_a_problem() -> None:
    for path, operations in (await document())["paths"].items():
        for operation in operations.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"], path


async def test_the_limits_of_a_submission_are_documented() -> None:
    schema = (await document())["components"]["schemas"]["SubmitJob"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["urgency"]["maximum"] == 1000


async def test_every_code_of_a_problem_is_documented() -> None:
    schema = (await document())["components"]["schemas"]["Problem"]
    assert schema["properties"]["code"]["enum"] == sorted(KINDS)


async def test_the_page_names_every_route_and_every_code() -> None:
    for path in (await document())["paths"]:
        last = path.rsplit("/", 1)[-1].strip("{}")
        assert last in PAGE, path
    assert not [code for code in KINDS if f"`{code}`" not in PAGE]
