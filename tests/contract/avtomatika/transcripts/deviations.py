"""Where Daybook answers otherwise than was recorded, and why: the only place for it.

A key is (file, name of the exchange); the sentences are those of `comparing.differences`. A test holds each
exchange to exactly its sentences, so an entry that is no longer needed fails it.
"""

from typing import Final

Deviations = dict[tuple[str, str], dict[str, str]]

TIMEOUT: Final = "documented: WORKER_TIMEOUT_SECONDS is the deadline of a task that names no other"
REASONS: Final = (
    "documented: a result is ignored as stale, late or cancelled; no document has the recorded words"
)
ONCE: Final = "the original's defect: a refresh token that was used goes on being good"
UNKNOWN: Final = "documented: 401 for a token that is not known; only on it does the SDK ask for a new one"
JSON: Final = "documented: every error is JSON; the original's middleware answers some in plain text"
FOREIGN: Final = "documented: what is another client's is 404, like what is not there"
SAME_PATH: Final = "clients of another interface have the same path and read these members too"
QUOTA: Final = "the original's defect: a client without a quota in its file has none left"
CATALOG: Final = "the original's defect: the catalogue's route answers with the dashboard"
TOKENS: Final = "the original's defect: tokens of clients stand in histories"
OPEN: Final = "the original's defect: anybody sees the jobs of all clients"
METRICS: Final = "documented, and missing in the recorded version"
APPROVAL: Final = "documented without a token, and so in the dev profile; in production it takes the owner's"
ENDPOINT: Final = "documented: Blueprint not found; the recorded 405 comes from another route with that path"
VERSIONED: Final = "the journal's own gapless version, so that nothing missing goes unseen"
FAILED: Final = "documented: job_failed; the recorded server called every end of a job job_completed"
DETAILS: Final = "an end without success says why"
DURATION: Final = "an optional member; the end of a job takes no time of its own"
SECRET: Final = "nobody is shown signatures of workers"
STRINGS: Final = "documented: skills may be texts, as in the documents' own example"
NAMED: Final = "the beginning is the documented text, what follows is the parser's"
PATTERN: Final = "documented: a table may be named by a pattern; the original's loader never stores one"
WARNING: Final = "the documents name status alone; no version is held against a worker"
LOST: Final = "documented: a worker that is not known is told so, and registers again"
SIGNER: Final = "the original's defect: it refuses what the SDK signs with the token that it shows"
BLOCKED: Final = "the original's defect: a refused result blocks the SDK's queue for fifteen seconds"
LENIENT: Final = "an event that can be understood is taken; its id is needed for nothing here"

POLL: Final = "GET /_worker/workers/<worker>/tasks/next"
RESULT: Final = "POST /_worker/tasks/result"
REFRESH: Final = "POST /_worker/auth/token/refresh"
APPROVE: Final = "POST /_public/webhooks/approval/<job>"
CANCEL: Final = "POST /api/v1/jobs/<job>/cancel"

JOBS: Final = "06_client_submit_get"
MISC: Final = "07_client_misc"
CODES: Final = "09_worker_api_status_codes"

IN_JSON: Final = {"application/json, not text/plain": JSON, "body is object, not text": JSON}
CANCELLED: Final = {
    f"also {name}": SAME_PATH for name in ("cancelled", "job_id", "message", "previous_status")
}
USED_TOKEN: Final = {
    "status 401, not 200": ONCE,
    "error 'Unauthorized: Invalid refresh token (used before)'": ONCE,
}
AT: Final = "line 1 column 2 (char 1)"
MISSING: Final = "Object missing required field `job_id`"
REGISTERED: Final = "members status, version"

DEVIATIONS: Final[Deviations] = {
    **{("03_poll", f"{number:02} {POLL}"): {"also deadline": TIMEOUT} for number in range(1, 7)},
    ("04_results", f"12 {RESULT}"): {"reason is 'stale', not 'job_already_terminated'": REASONS},
    ("10_events_http_and_sts", f"03 {RESULT}"): {"reason is 'stale', not 'stale_task'": REASONS},
    ("10_events_http_and_sts", f"06 {REFRESH}"): USED_TOKEN,
    ("10_events_http_and_sts", f"07 {REFRESH}"): {"status 401, not 403": UNKNOWN},
    **{
        (JOBS, f"{number:02} GET /api/v1/jobs/<job>"): {"also current_task_info.timeout_seconds": TIMEOUT}
        for number in (2, 3)
    },
    (JOBS, f"05 {CANCEL}"): CANCELLED,
    (JOBS, f"06 {CANCEL}"): CANCELLED,
    (JOBS, f"09 {APPROVE}"): {
        "status 200, not 401": APPROVAL,
        "application/json, not text/plain": APPROVAL,
        "members job_id, status": APPROVAL,
    },
    (JOBS, f"10 {APPROVE}"): {"status 404, not 403": FOREIGN, **IN_JSON},
    (MISC, "01 POST /api/v1/jobs/unknownbp"): {"status 404, not 405": ENDPOINT, **IN_JSON},
    (MISC, "11 GET /api/v1/jobs/<job>/files/download/a.txt"): IN_JSON,
    (MISC, "06 GET /api/v1/dashboard"): {"status 200, not 429": QUOTA, "members jobs, workers": QUOTA},
    (MISC, "12 GET /api/v1/workers"): {"no 0.security": SECRET},
    (MISC, "15 GET /api/v1/jobs"): {
        "also 0.version": VERSIONED,
        "also 0.error": DETAILS,
        "no 0.client_token": TOKENS,
        "no 0.duration_ms": DURATION,
        "0.event_type is 'job_failed', not 'job_completed'": FAILED,
    },
    (MISC, "23 GET /_public/metrics"): {"status 200, not 404": METRICS, "text": METRICS},
    (MISC, "13 GET /api/v1/workers/catalog"): {"body is list, not object": CATALOG},
    (MISC, "22 GET /_public/jobs/quarantined"): {
        "status 401, not 200": OPEN,
        "error 'Missing X-Client-Token header'": OPEN,
    },
    (MISC, "24 DELETE /api/v1/jobs/<job>"): IN_JSON,
    (MISC, "25 GET /nothing"): {
        "application/problem+json, not text/plain": "outside the dialect's paths the native API answers",
        "body is object, not text": "outside the dialect's paths the native API answers",
    },
    **{
        (CODES, name): {"status 401, not 403": UNKNOWN}
        for name in (
            "register no token",
            "register bad token",
            "poll bad token",
            "refresh bad",
            "sts bad token",
            "mismatch",
            "event other worker on job",
            "ws bad token",
        )
    },
    (CODES, "register skills as strings (seed doc shape)"): {
        "status 200, not 400": STRINGS,
        REGISTERED: STRINGS,
    },
    (CODES, "register bad json"): {
        f"error is 'Invalid JSON body: unexpected character, expected a string key: {AT}', "
        f"not 'unexpected character: {AT}'": NAMED
    },
    (CODES, "register pattern"): {"status 200, not 403": PATTERN, REGISTERED: PATTERN},
    (CODES, "register version mismatch"): {"no warning": WARNING},
    **{
        (CODES, name): {"status 404, not 200": LOST, "error 'Worker not found'": LOST}
        for name in ("hb empty body unknown worker", "hb json unknown worker")
    },
    (CODES, "poll w/ access token + signature by global: hb"): {
        "status 403, not 200": SIGNER,
        "error 'Invalid cryptographic signature'": SIGNER,
    },
    (CODES, "hb signed with access token"): {"status 200, not 403": SIGNER, "members status": SIGNER},
    (CODES, "refresh again same token"): USED_TOKEN,
    (CODES, "result other worker"): {
        "status 200, not 403": BLOCKED,
        "members message, reason, status": BLOCKED,
    },
    (CODES, "result no job_id"): {
        f"error is 'Invalid TaskResult payload: {MISSING}', "
        f"not 'Invalid TaskResult payload: Failed to instantiate TaskResult: {MISSING}'": NAMED
    },
    (CODES, "result data string"): {
        "status 200, not 400": BLOCKED,
        "members status, transition": BLOCKED,
    },
    (CODES, "result error string"): {
        "status 200, not 400": BLOCKED,
        "members status, transition": BLOCKED,
    },
    (CODES, "stale"): {"reason is 'stale', not 'stale_task'": REASONS},
    (CODES, "event bad payload"): {
        "status is 'event_accepted', not 'error'": LENIENT,
        "no message": LENIENT,
    },
    (CODES, "result again"): {"reason is 'stale', not 'job_already_terminated'": REASONS},
}


def expected(file: str, name: str) -> set[str]:
    """The differences that are meant for an exchange."""
    return set(DEVIATIONS.get((file, name), {}))
