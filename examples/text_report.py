"""Report on a text: split it into chapters, study each chapter in parallel, write the report.

Three skills, and a workflow that joins them. Start a system, this worker, and a job:

    daybook up
    python -m examples.text_report
    python -m examples.text_report submit [FILE]
"""

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from daybook import Client, TaskContext, Worker
from daybook.errors import InvalidInput
from examples.fables import TEXT, TITLE

WORKFLOW = "text_report"

INPUT: dict[str, Any] = {"title": TITLE, "text": TEXT}

GRAPH: dict[str, Any] = {
    "nodes": {
        "split": {"kind": "task", "skill": "split_text"},
        # One task a chapter, at most eight at a time; each sees its chapter as `item`.
        "each_chapter": {"kind": "loop", "over": {"cel": "last.chapters"}, "width": 8},
        "study": {
            "kind": "task",
            "skill": "study_chapter",
            "input": {"chapter": {"cel": "item"}, "number": {"cel": "index + 1"}},
            "run_timeout": 60,
            "retry": {"max_attempts": 3, "base_seconds": 0.5},
        },
        "report": {
            "kind": "task",
            "skill": "write_report",
            "input": {"title": {"cel": "input.title"}, "chapters": {"cel": "last"}},
        },
    },
    "edges": [
        {"from": "split", "to": "each_chapter"},
        {"from": "each_chapter", "port": "body", "to": "study"},
        {"from": "study", "to": "each_chapter"},
        {"from": "each_chapter", "to": "report"},
    ],
}

# The token and the address come from DAYBOOK_WORKER_TOKEN and DAYBOOK_NATS_URL.
worker = Worker(concurrency=8)


@worker.skill("split_text")
async def split_text(given: dict[str, Any]) -> dict[str, Any]:
    """Cut the text at its headings (`# …`); a text without any is one chapter."""
    text = given.get("text")
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput("there is no text to report on", code="empty_text")
    pieces = re.split(r"^#+[ \t]*(.*)$", text, flags=re.MULTILINE)
    chapters = [
        {"title": title.strip() or "Untitled", "text": body.strip()}
        for title, body in zip(pieces[1::2], pieces[2::2], strict=True)
    ]
    if pieces[0].strip():
        chapters.insert(0, {"title": str(given.get("title") or "Untitled"), "text": pieces[0].strip()})
    return {"chapters": chapters}


@worker.skill("study_chapter")
def study_chapter(given: dict[str, Any], task: TaskContext) -> dict[str, Any]:
    """Count the words of one chapter. A plain function: it runs in a thread."""
    chapter = given["chapter"]
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", chapter["text"].lower())
    sentences = [piece for piece in re.split(r"[.!?]+", chapter["text"]) if piece.strip()]
    telling = Counter(word for word in words if word not in _COMMON and len(word) > 2)
    task.log.info("%r has %d words", chapter["title"], len(words))
    return {
        "number": given["number"],
        "title": chapter["title"],
        "words": len(words),
        "different": len(set(words)),
        "sentences": len(sentences),
        "longest": max(words, key=len, default=""),
        "telling": dict(telling.most_common(5)),
    }


@worker.skill("write_report")
async def write_report(given: dict[str, Any]) -> dict[str, Any]:
    """Join what was found in the chapters into one page of Markdown."""
    chapters = sorted(given["chapters"], key=lambda chapter: int(chapter["number"]))
    words = sum(chapter["words"] for chapter in chapters)
    telling: Counter[str] = Counter()
    for chapter in chapters:
        telling.update(chapter["telling"])
    lines = [
        f"# {given['title']}",
        "",
        f"{len(chapters)} chapters, {words} words, about {max(1, round(words / 230))} min to read.",
        f"Most telling: {', '.join(word for word, _ in telling.most_common(6)) or 'nothing'}.",
        "",
        "| chapter | words | different | sentences | longest word | most telling |",
        "|---|---|---|---|---|---|",
        *(
            f"| {c['title']} | {c['words']} | {c['different']} | {c['sentences']} | {c['longest']} "
            f"| {', '.join(c['telling'])} |"
            for c in chapters
        ),
    ]
    return {"words": words, "chapters": len(chapters), "report": "\n".join(lines)}


def submit(file: str | None = None) -> None:
    """Publish the workflow, run it on a file (or the fables), and print the report."""
    given = INPUT if file is None else {"title": Path(file).name, "text": Path(file).read_text()}
    with Client() as client:
        client.publish_workflow(WORKFLOW, GRAPH)
        job = client.run(WORKFLOW, given)
    print(job.output["report"] if job.succeeded else f"{job.status}: {job.error}")


_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
a an and as at away be but by came could did does down for from gave had he her him his i in into is
it last little more not of off on one or out said shall she so that the their them then they this to
too took turned until upon was went were what when where which who with you your
""",
    )
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["submit"]:
        submit(*sys.argv[2:3])
    else:
        worker.run()
