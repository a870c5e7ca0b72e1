"""Handlers in processes of their own: what they choose, and how they fail."""

from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from shared.blueprints.host import HandlerFailed, HandlerHost
from shared.domain.job import AwaitApproval, Dispatch, GoTo, Parallel, RunWorkflow, TaskSpec
from tests.contract.blueprint.orders import VIEW, asked


@pytest.mark.parametrize(
    ("how", "action"),
    [
        (
            "dispatch",
            Dispatch(
                TaskSpec("stock", {"n": 1}, run_timeout=5, urgency=9, remember=True), {"success": "finished"}
            ),
        ),
        ("parallel", Parallel((TaskSpec("a", 1), TaskSpec("b", name="second")), "finished", "fail")),
        ("approval", AwaitApproval("legal", {"yes": "finished"}, "?", 3)),
        ("child", RunWorkflow("other", {"success": "finished"}, {"n": 1}, 2)),
    ],
)
async def test_a_handlers_choice_is_an_action_of_the_domain(
    host: HandlerHost, how: str, action: object
) -> None:
    assert await host.run("order", "check", asked(how)) == action


async def test_a_handler_sees_the_job(host: HandlerHost) -> None:
    view = {**VIEW, "last": 1, "context": {"c": 2}, "results": {"check": 3}}
    assert await host.run("order", "finished", view) == GoTo("finished:end", [1, {"c": 2}, {"check": 3}, "j"])


@pytest.mark.parametrize(
    ("how", "kind", "code", "text"),
    [
        ("raise", "transient", "ValueError", "blueprint 'order', state 'check': ValueError: no such luck"),
        ("refuse", "invalid_input", "nope", "blueprint 'order', state 'check': not this"),
        ("exit", "transient", "SystemExit", "blueprint 'order', state 'check': SystemExit: bye"),
        ("odd", "contract_violation", "not_json", "blueprint 'order', state 'check': the action is not JSON"),
        (
            "nan",
            "contract_violation",
            "not_json",
            r"'check': .* not JSON: context\.mean\.of\[1\]\[1\] is nan",
        ),
        ("infinite", "contract_violation", "not_json", r"'check': .* not JSON: task\.input\.n\.value is inf"),
        ("nothing", "contract_violation", "blueprint", "state 'check': its handler chose no action"),
        ("die", "transient", "handler_died", "ended with status 9"),
    ],
)
async def test_a_handler_that_fails_says_where_and_the_next_one_runs(
    host: HandlerHost, how: str, kind: str, code: str, text: str
) -> None:
    with pytest.raises(HandlerFailed, match=text) as caught:
        await host.run("order", "check", asked(how))
    assert (caught.value.error.kind, caught.value.error.code) == (kind, code)
    assert isinstance(await host.run("order", "check", asked("dispatch")), Dispatch)


async def test_a_process_is_kept_for_the_next_handler_and_ends_with_the_host(folder: Path) -> None:
    host = HandlerHost(folder, time_limit_seconds=5.0)
    first = await host.run("order", "check", asked("pid"))
    second = await host.run("order", "check", asked("pid"))
    assert isinstance(first, GoTo)
    assert first == second
    await host.stop()
    assert not psutil.pid_exists(first.payload)
