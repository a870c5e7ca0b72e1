"""The requests of a worker whose answers were recorded without them, by the names of the recording."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx

from tests.contract.avtomatika.transcripts.stage import Stage, signed
from tests.support.system import WORKER_TOKEN

Ask = Callable[[Stage], Awaitable[httpx.Response]]

REGISTER: Final = "/_worker/workers/register"
RESULT: Final = "/_worker/tasks/result"
EVENTS: Final = "/_worker/events"
REFRESH: Final = "/_worker/auth/token/refresh"


def registering(
    *,
    worker: str = "<worker>",
    header: str | None = "<worker>",
    token: str | None = WORKER_TOKEN,
    skills: Any = None,
    sign: bool = True,
    version: str | None = None,
    **changes: Any,
) -> Ask:
    """A registration; `changes` are put into the body after it was signed."""

    async def ask(stage: Stage) -> httpx.Response:
        body: dict[str, Any] = {
            "worker_id": worker,
            "worker_type": "raw",
            "supported_skills": [{"name": "rawskill", "type": "rawskill"}] if skills is None else skills,
            "timestamp": int(time.time()),
            **{name: value for name, value in changes.items() if name == "timestamp"},
        }
        body = {name: stage.fill(value) for name, value in body.items() if value is not None}
        if sign:
            body = signed(body, token=token or WORKER_TOKEN)
        signer = changes.get("signer_id")
        if signer is not None:
            body["security"]["signer_id"] = signer
        if changes.get("signature"):
            body["security"]["signature"] = changes["signature"]
        return await stage.send("POST", REGISTER, heads(stage, header, token, version), body)

    return ask


def heads(stage: Stage, worker: str | None, token: str | None, version: str | None = None) -> dict[str, str]:
    named = {"X-Worker-ID": worker, "X-Worker-Token": token, "X-RXON-Version": version}
    return {name: stage.fill(value) for name, value in named.items() if value is not None}


def calling(
    method: str,
    path: str,
    body: Any = None,
    *,
    worker: str | None = "<worker>",
    token: str = WORKER_TOKEN,
    key: str | None = None,
    sign: bool = True,
    signer: str | None = None,
    hold: bool = False,
    known: bool = True,
    after: Callable[[Stage], Awaitable[Any]] | None = None,
) -> Ask:
    """Any other request of a worker that is registered (`known`), and perhaps holds a task."""

    async def ask(stage: Stage) -> httpx.Response:
        if hold:
            await stage.hold(dispatch_timeout=60, result_timeout=100, metadata={"m": 1}, params={"q": 1})
        elif known:
            await stage.register()
        if after is not None:
            await after(stage)
        content = stage.fill(body)
        if sign and isinstance(content, dict) and content:
            content = {"timestamp": int(time.time()), **content}
            named = stage.fill(signer or worker or "")
            content = signed(content, named, stage.fill(key or token))
        return await stage.send(method, stage.fill(path), heads(stage, worker, token), content)

    return ask


async def issued(stage: Stage) -> None:
    """Short-lived tokens of the worker: <access> and <token>, which is for refreshing."""
    pair = (await stage.as_worker("POST", "/_worker/auth/token")).json()
    stage.ids |= {"access": pair["access_token"], "token": pair["refresh_token"]}


async def refreshed(stage: Stage) -> None:
    await issued(stage)
    body = {"refresh_token": stage.ids["token"]}
    await stage.send("POST", REFRESH, heads(stage, "<worker>", WORKER_TOKEN), body)


async def ended(stage: Stage) -> None:
    await stage.result(status="odd", data={})
    await stage.until("failed")


BEAT: Final = {"worker_id": "<worker>", "status": "idle", "current_tasks": []}
OUTCOME: Final = {"job_id": "<job>", "task_id": "<task>", "worker_id": "<worker>"}
EVENT: Final = {
    "event_id": "<event>",
    "worker_id": "<worker>",
    "event_type": "progress",
    "payload": {"progress": 0.5},
    "target_job_id": "<job>",
    "target_task_id": "<task>",
}
SELF: Final = "/_worker/workers/<worker>"
NEXT: Final = f"{SELF}/tasks/next?timeout=0.2"
NOBODY: Final = "/_worker/workers/nobody-knows"
SKILLS: Final = ["video_processing", "audio_transcription"]


async def socket(stage: Stage) -> httpx.Response:
    """A handshake with a wrong token."""
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    path = stage.fill("/_worker/ws/<worker>")
    return await stage.send("GET", path, {**heads(stage, "<worker>", "wrong"), **upgrade, **key}, None)


async def bad_json(stage: Stage) -> httpx.Response:
    return await stage.send("POST", REGISTER, heads(stage, "<worker>", WORKER_TOKEN), "{nope")


REQUESTS: Final[dict[str, Ask]] = {
    "register ok": registering(),
    "register no token": registering(token=None),
    "register bad token": registering(token="wrong"),
    "register unsigned": registering(sign=False),
    "register no timestamp": registering(timestamp=None),
    "register old ts": registering(timestamp=1_000_000_000),
    "register bad sig": registering(signature="0" * 64),
    "register other signer": registering(signer_id="somebody"),
    "register spoof (hdr id raw-2, body raw-1)": registering(header="another"),
    "register skills as strings (seed doc shape)": registering(skills=SKILLS),
    "register no worker_id": registering(worker=""),
    "register bad id": registering(worker="a b", header=None),
    "register bad json": bad_json,
    "register individual ok": registering(
        worker="individual", header="individual", token="token-of-individual"
    ),
    "register individual w/ global token": registering(worker="individual", header="individual"),
    "register pattern": registering(worker="cpu-7", header="cpu-7", token="token-of-cpus"),
    "register no X-Worker-ID header (body id used)": registering(header=None, sign=False),
    "register version mismatch": registering(version="0.9"),
    "hb empty body": calling("PATCH", SELF),
    "hb empty body unknown worker": calling("PATCH", NOBODY, worker="nobody-knows", known=False),
    "hb {} body": calling("PATCH", SELF, {}),
    "hb json": calling("PATCH", SELF, BEAT),
    "hb json unknown worker": calling(
        "PATCH", NOBODY, {**BEAT, "worker_id": "nobody-knows"}, worker="nobody-knows", known=False
    ),
    "hb unsigned": calling("PATCH", SELF, BEAT, sign=False),
    "hb path != header": calling("PATCH", SELF, BEAT, worker="<other-worker>"),
    "poll none": calling("GET", NEXT),
    "poll bad token": calling("GET", NEXT, token="wrong"),
    "poll unregistered": calling(
        "GET", f"{NOBODY}/tasks/next?timeout=0.2", worker="nobody-knows", known=False
    ),
    "sts": calling("POST", "/_worker/auth/token"),
    "poll w/ access token + signature by global: hb": calling(
        "PATCH", SELF, BEAT, token="<access>", key=WORKER_TOKEN, after=issued
    ),
    "hb signed with access token": calling("PATCH", SELF, BEAT, token="<access>", after=issued),
    "access token for other worker": calling(
        "PATCH", "/_worker/workers/raw-9", BEAT, worker="raw-9", token="<access>", after=issued
    ),
    "refresh ok": calling("POST", REFRESH, {"refresh_token": "<token>"}, sign=False, after=issued),
    "refresh again same token": calling(
        "POST", REFRESH, {"refresh_token": "<token>"}, sign=False, after=refreshed
    ),
    "refresh bad": calling("POST", REFRESH, {"refresh_token": "x"}, sign=False),
    "refresh missing": calling("POST", REFRESH, {}),
    "refresh other worker": calling(
        "POST", REFRESH, {"refresh_token": "<token>"}, sign=False, worker="<other-worker>", after=issued
    ),
    "sts bad token": calling("POST", "/_worker/auth/token", token="wrong"),
    "result unknown job": calling("POST", RESULT, {**OUTCOME, "job_id": "nope", "task_id": "t"}),
    "result other worker": calling("POST", RESULT, {**OUTCOME, "worker_id": "<other-worker>"}, hold=True),
    "result no job_id": calling("POST", RESULT, {"task_id": "t", "worker_id": "<worker>"}),
    "result data string": calling("POST", RESULT, {**OUTCOME, "data": "text"}, hold=True),
    "result unsigned": calling("POST", RESULT, OUTCOME, sign=False, hold=True),
    "result error string": calling(
        "POST", RESULT, {**OUTCOME, "status": "failure", "error": "text"}, hold=True
    ),
    "poll task (float/int fields)": calling("GET", NEXT, known=False),
    "stale": calling("POST", RESULT, {**OUTCOME, "task_id": "other"}, hold=True),
    "mismatch": calling("POST", RESULT, {**OUTCOME, "worker_id": "<other-worker>"}, token="wrong", hold=True),
    "event ok": calling("POST", EVENTS, EVENT, hold=True),
    "event bad payload": calling("POST", EVENTS, {"worker_id": "<worker>", "event_type": "progress"}),
    "event other worker on job": calling("POST", EVENTS, EVENT, token="wrong", hold=True),
    "result unhandled status": calling("POST", RESULT, {**OUTCOME, "status": "odd", "data": {}}, hold=True),
    "result again": calling("POST", RESULT, {**OUTCOME, "data": {"again": 1}}, hold=True, after=ended),
    "ws bad token": socket,
}
