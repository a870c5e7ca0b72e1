"""Which text of a blueprint runs: what is published, reloaded, kept with a version."""

from hashlib import sha256
from pathlib import Path

import pytest

from shared.blueprints.host import Code, HandlerFailed, HandlerHost
from shared.domain.graph import validate
from shared.domain.job import Dispatch
from tests.contract.blueprint.orders import CODE, VIEW, asked


async def test_the_sources_of_a_folder_are_graphs_that_can_be_published(
    host: HandlerHost, folder: Path
) -> None:
    (folder / "broken.py").write_text("import nothing_of_that_name")
    (folder / "twin.py").write_text(CODE)
    (folder / "wrong.py").write_text("from daybook import Blueprint\nbp = Blueprint('wrong')")
    sources, problems = await host.sources()
    assert [(source.name, source.file) for source in sources] == [("order", "order.py")]
    assert validate(sources[0].graph) == []
    assert sources[0].sha256 == sha256(CODE.encode()).hexdigest()
    assert len(problems) == 3
    assert "broken.py" in problems[0]
    assert "it is in two files, order.py and twin.py" in problems[1]
    assert "exactly one state is the start, not 0" in problems[2]


async def test_new_code_is_another_definition_and_runs_after_a_reload(
    host: HandlerHost, folder: Path
) -> None:
    (before,), _ = await host.sources()
    assert isinstance(await host.run("order", "check", asked("dispatch")), Dispatch)
    (folder / "order.py").write_text(CODE.replace('"stock"', '"store"'))
    (after,), _ = await host.sources()
    assert before.sha256 != after.sha256
    await host.reload()
    action = await host.run("order", "check", asked("dispatch"))
    assert isinstance(action, Dispatch)
    assert action.task.skill == "store"


async def test_an_unknown_blueprint_or_state_is_named(host: HandlerHost) -> None:
    with pytest.raises(HandlerFailed, match="blueprint 'nobody': there is no such blueprint"):
        await host.run("nobody", "check", VIEW)
    with pytest.raises(HandlerFailed, match="blueprint 'order', state 'nowhere': there is no such state"):
        await host.run("order", "nowhere", VIEW)


@pytest.mark.parametrize(
    ("file", "changed", "why"),
    [
        ("five.py", "Blueprint(5)", "'five.py': the name of a blueprint is a text, not 5"),
        ("odd.py", r'Blueprint("odd\udc80")', "cannot be published"),
        (
            "schema.py",
            'Blueprint("schema", input_schema={"enum": {1, 2}})',
            "'schema': its input_schema cannot be used",
        ),
        ("many.py", 'Blueprint("many", max_transitions=object())', "'many': it cannot be published"),
        (
            "event.py",
            'Blueprint("event"); bp.event("e", {"default": {1}})',
            "its schema of the event 'e' cannot be used",
        ),
    ],
)
async def test_a_blueprint_that_cannot_be_published_keeps_no_other_from_it(
    host: HandlerHost, folder: Path, file: str, changed: str, why: str
) -> None:
    (folder / file).write_text(CODE.replace('Blueprint("order")', changed))
    sources, problems = await host.sources()
    assert [source.name for source in sources] == ["order"]
    (problem,) = problems
    assert why in problem


async def test_an_older_text_runs_beside_the_newest_also_when_its_file_is_gone(
    host: HandlerHost, folder: Path
) -> None:
    old = Code(sha256(CODE.encode()).hexdigest(), "order.py", CODE)
    text = CODE.replace('"stock"', '"store"')
    new = Code(sha256(text.encode()).hexdigest(), "order.py", text)
    (folder / "order.py").unlink()
    skills = []
    for code in (old, new, old):
        action = await host.run("order", "check", asked("dispatch"), code)
        assert isinstance(action, Dispatch)
        skills.append(action.task.skill)
    assert skills == ["stock", "store", "stock"]


async def test_a_text_runs_without_any_folder() -> None:
    host = HandlerHost(None, time_limit_seconds=5.0)
    try:
        code = Code(sha256(CODE.encode()).hexdigest(), "order.py", CODE)
        assert isinstance(await host.run("order", "check", asked("dispatch"), code), Dispatch)
    finally:
        await host.stop()


@pytest.mark.parametrize(
    ("text", "why"),
    [("import nothing_of_that_name", "cannot be loaded"), ("", "the text has no such blueprint")],
)
async def test_a_text_without_the_blueprint_says_so(host: HandlerHost, text: str, why: str) -> None:
    with pytest.raises(HandlerFailed, match=why) as caught:
        await host.run("order", "check", VIEW, Code("0" * 64, "order.py", text))
    assert caught.value.error.kind == "permanent"
