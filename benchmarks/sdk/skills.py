"""The worker of the scenario `sdk`, run by the interpreter that has the SDK: it answers at once."""

from typing import Any

from avtomatika_worker import Worker  # type: ignore[import-not-found]  # it lives in another environment

worker = Worker(worker_type="bench")


@worker.skill("answer")  # type: ignore[untyped-decorator]
async def answer(params: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"ok": 1}}


if __name__ == "__main__":
    worker.run()
