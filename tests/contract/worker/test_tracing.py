"""The trace of a release goes on in the skill, where the program has set up OpenTelemetry."""

from typing import Any

import pytest
from opentelemetry import trace

from daybook.worker import tracing
from shared.telemetry.ids import span_id
from tests.contract.worker.conftest import serving, worker_of
from tests.contract.worker.fake_dispatcher import FakeDispatcher

pytestmark = [pytest.mark.connected, pytest.mark.usefixtures("every_task_is_fresh")]

TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.mark.parametrize("configured", [True, False])
@pytest.mark.parametrize("executor", ["async", "thread"])
async def test_the_release_is_the_parent_of_the_skills_spans_if_tracing_is_set_up(
    dispatcher: FakeDispatcher, monkeypatch: pytest.MonkeyPatch, configured: bool, executor: Any
) -> None:
    monkeypatch.setattr(tracing, "is_configured", lambda: configured)
    worker = worker_of(dispatcher.server)

    @worker.skill("span", executor=executor)
    def span(given: Any) -> list[Any]:
        current = trace.get_current_span().get_span_context()
        return [f"{current.trace_id:032x}", f"{current.span_id:016x}", current.is_remote]

    async with serving(worker):
        first = await dispatcher.release("span", trace=CLIENT)
        (given,) = await dispatcher.results(1)
        second = await dispatcher.release("span")
        _, own = await dispatcher.results(2)
    nothing = ["0" * 32, "0" * 16, False]
    assert given["output"] == ([TRACE, span_id(first, 2), True] if configured else nothing)
    assert own["output"] == ([second.hex, span_id(second, 2), True] if configured else nothing)


def test_a_program_without_opentelemetry_is_not_configured() -> None:
    assert not tracing.is_configured()
