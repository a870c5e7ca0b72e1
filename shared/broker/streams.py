"""The streams: declared by us, because no library knows all of the settings that we need."""

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson
from nats.errors import Error as NatsError

from shared.broker.connection import Connection
from shared.broker.errors import BrokerUnavailable, Refused, UnsafeBroker
from shared.broker.subjects import COUNTERS, JOURNAL, SNAPSHOTS, TIMERS, USES

Settings = dict[str, Any]

DAY_NS = 86_400 * 1_000_000_000

STREAMS: dict[str, Settings] = {
    # A full store refuses new commits (`new`); it never forgets old ones. Commits cannot be deleted one
    # by one; retention purges whole aggregates by subject.
    JOURNAL: {
        "subjects": ["journal.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "allow_direct": True,
        "allow_atomic": True,
        "deny_delete": True,
    },
    TIMERS: {
        "subjects": ["timer.>", "fired.>"],
        "storage": "file",
        "retention": "limits",
        "allow_direct": True,
        "allow_msg_schedules": True,
        "allow_msg_ttl": True,
    },
    # A number a subject, added up by the broker; a month's is of no use in the next but one.
    COUNTERS: {
        "subjects": ["count.>"],
        "storage": "file",
        "retention": "limits",
        "max_msgs_per_subject": 1,
        "max_age": 100 * DAY_NS,
        "allow_direct": True,
        "allow_msg_counter": True,
    },
    # What was used, for longer than what is used is good.
    USES: {
        "subjects": ["use.*"],
        "storage": "file",
        "retention": "limits",
        "max_age": 2 * DAY_NS,
        "allow_direct": True,
    },
    # A cache (docs/decisions/0009): whatever is dropped here costs time and nothing else.
    SNAPSHOTS: {
        "subjects": ["snapshot.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_msgs_per_subject": 1,
        "max_age": 7 * 24 * 3600 * 1_000_000_000,
        "max_bytes": 256 * 1024 * 1024,
        "allow_direct": True,
    },
}

STREAM_NOT_FOUND = 10059


@dataclass(frozen=True, slots=True)
class Durability:
    """Whether an acknowledged write survives a power cut, and how that was learnt."""

    sync_always: bool
    how: str

    def must_hold(self, profile: str) -> None:
        """Raise UnsafeBroker when the profile is production and writes are not synced."""
        if profile == "production" and not self.sync_always:
            raise UnsafeBroker(self.how)


async def declare_streams(connection: Connection, replicas: int = 1) -> None:
    """Create the streams, or bring their settings up to ours. Any number of processes may do it at once."""
    for name, settings in STREAMS.items():
        await declare_stream(connection, name, {**settings, "num_replicas": replicas})


async def declare_stream(connection: Connection, name: str, settings: Settings) -> None:
    """Create one stream, or change what differs; settings that we do not name are left as they are."""
    try:
        existing = (await api(connection, f"STREAM.INFO.{name}"))["config"]
    except Refused as refusal:
        if refusal.code != STREAM_NOT_FOUND:
            raise
        await api(connection, f"STREAM.CREATE.{name}", {"name": name, **settings})
        return
    if any(existing.get(key) != value for key, value in settings.items()):
        await api(connection, f"STREAM.UPDATE.{name}", {**existing, **settings})


async def declare_consumer(connection: Connection, stream: str, settings: Settings) -> Settings:
    """Create a consumer, or change it. With `durable_name` it is durable; the answer is its info."""
    name = settings.get("durable_name") or settings["name"]
    request = {"stream_name": stream, "config": {"name": name, **settings}}
    return await api(connection, f"CONSUMER.CREATE.{stream}.{name}", request)


async def api(
    connection: Connection, verb: str, body: Settings | None = None, timeout: float = 5.0
) -> Settings:
    """One call of the JetStream API. Raises Refused, or BrokerUnavailable when nothing answers."""
    try:
        answer = await connection.request(
            f"$JS.API.{verb}", orjson.dumps(body) if body is not None else b"", timeout=timeout
        )
    except NatsError as error:
        raise BrokerUnavailable("the JetStream API", error) from error
    if (task := asyncio.current_task()) is not None and task.cancelling():
        raise asyncio.CancelledError  # Python 3.11's wait_for drops it when the answer comes in that moment
    content: Settings = orjson.loads(answer.data)
    if error_body := content.get("error"):
        raise Refused(verb, error_body.get("err_code", 0), error_body.get("description", ""))
    return content


async def durability(connection: Connection, timeout: float = 2.0) -> Durability:
    """The sync policy of the servers behind `connection`, as they tell it themselves.

    It asks `$SYS.REQ.SERVER.PING.VARZ`, which the account must import from the system account (our
    configurations do). One server without `always` means False. No answer means False too: a policy that
    cannot be learnt is not one to rely on.
    """
    answers: list[bytes] = []
    inbox = connection.inbox()
    first = asyncio.Event()

    def take(_subject: bytes, _reply: bytes, _header: bytes, data: bytes) -> None:
        answers.append(data)
        first.set()

    sid = await connection.listen(inbox, take)
    try:
        await connection.publish("$SYS.REQ.SERVER.PING.VARZ", b"", reply=inbox)
        async with asyncio.timeout(timeout):
            await first.wait()
        await asyncio.sleep(0.05)  # the other servers of a cluster answer at nearly the same time
    except TimeoutError:
        return Durability(
            False, "the server does not tell: import $SYS.REQ.SERVER.PING.VARZ from its system account"
        )
    finally:
        await connection.unlisten(sid)
    servers = [orjson.loads(answer) for answer in answers if answer]
    if not servers:
        return Durability(
            False, "nobody answers $SYS.REQ.SERVER.PING.VARZ: import it from the system account"
        )
    policies = {
        str(server["server"]["name"]): bool(
            server.get("data", {}).get("jetstream", {}).get("config", {}).get("sync_always", False)
        )
        for server in servers
    }
    told = ", ".join(
        f"{name} {'always' if policy else 'not always'}" for name, policy in sorted(policies.items())
    )
    return Durability(all(policies.values()), f"told by the servers: {told}")
