"""Sending what is due, and again what was not taken, ever later, until it is taken or given up."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from services.projector.webhooks.addresses import Forbidden, Unresolved, address_of
from services.projector.webhooks.outbox import Message, Outbox
from shared.application.ports import Journal, JournalError
from shared.application.webhooks import body_of, signed

log = logging.getLogger(__name__)

AT_ONCE: Final = 16
ANSWER_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 2.0
LONGEST_PAUSE_SECONDS: Final = 3600.0
TRIES: Final = 14
"""Over about two and a half hours."""
LONGEST_SLEEP_SECONDS: Final = 30.0
GONE: Final = 410
"""The receiver's word for: never again."""


class Sending:
    """The sender of one outbox."""

    def __init__(
        self,
        outbox: Outbox,
        journal: Journal,
        now_us: Callable[[], int],
        key: bytes | None,
        *,
        loopback: bool,
        trusted: Path | None = None,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        """`key` signs; `loopback` allows receivers on this machine; `trusted` is a file of certificates of
        authorities that receivers' certificates may be signed by, beside those that everybody trusts. Raises
        OSError when it cannot be used.
        """
        self._tls = httpx.create_ssl_context(trust_env=False)
        if trusted is not None:
            self._tls.load_verify_locations(cafile=trusted)
        self._outbox, self._journal, self._now, self._key = outbox, journal, now_us, key
        self._loopback, self._pause = loopback, first_pause_seconds
        self._woken = asyncio.Event()
        self._sending: dict[str, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """There may be something to send."""
        self._woken.set()

    async def run(self) -> None:
        """Send until cancelled; what is on its way then is sent again later."""
        # No connection is kept: one that was made for one name must not serve another at the same address.
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
        async with httpx.AsyncClient(
            verify=self._tls, timeout=ANSWER_SECONDS, limits=limits, trust_env=False, follow_redirects=False
        ) as client:
            try:
                while True:
                    self._woken.clear()
                    room = AT_ONCE - len(self._sending)
                    for message in self._outbox.due(self._now(), room, self._sending) if room else ():
                        task = asyncio.create_task(self._deliver(client, message))
                        self._sending[message.id] = task
                        task.add_done_callback(lambda _, done=message.id: self._over(done))  # type: ignore[misc]
                    with contextlib.suppress(TimeoutError):
                        # Not wait_for: before Python 3.12 it may swallow a cancellation.
                        async with asyncio.timeout(self._sleep()):
                            await self._woken.wait()
            finally:
                tasks = list(self._sending.values())
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _over(self, message: str) -> None:
        self._sending.pop(message, None)
        self._woken.set()

    def _sleep(self) -> float:
        """Seconds until something is due that is not being sent."""
        if self._sending:
            return LONGEST_SLEEP_SECONDS if len(self._sending) >= AT_ONCE else 1.0
        due = self._outbox.next_due()
        if due is None:
            return LONGEST_SLEEP_SECONDS
        return min(LONGEST_SLEEP_SECONDS, max(0.0, (due - self._now()) / 1_000_000))

    async def _deliver(self, client: httpx.AsyncClient, message: Message) -> None:
        try:
            body = message.body or await self._made(message)
            status = await self._post(client, message, body)
        except Forbidden as error:
            self._end(message, "failed", str(error))
        except (httpx.HTTPError, httpx.InvalidURL, Unresolved, JournalError, OSError) as error:
            self._again(message, f"{type(error).__name__}: {error}")
        except Exception as error:
            # Whatever this message does to us, the others go out.
            log.exception("webhook %s cannot be sent", message.id)
            self._again(message, f"{type(error).__name__}: {error}")
        else:
            if 200 <= status < 300:
                self._end(message, "delivered", str(status))
            elif status == GONE:
                self._end(message, "failed", str(status))
            else:
                self._again(message, str(status))

    async def _made(self, message: Message) -> bytes:
        commits = await self._journal.history("job", message.job)
        body = body_of(message.job, commits, message.version, message.event, message.origin)
        self._outbox.made(message.id, body)
        return body

    async def _post(self, client: httpx.AsyncClient, message: Message, body: bytes) -> int:
        parts = urlsplit(message.url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = await address_of(host, port, loopback=self._loopback)
        at = f"[{address}]" if ":" in address else address
        url = parts._replace(netloc=f"{at}:{port}", fragment="").geturl()
        headers = {
            "Host": parts.netloc,
            "Content-Type": "application/json",
            "User-Agent": "daybook-webhooks",
            **signed(self._key, message.id, self._now() // 1_000_000, body),
        }
        extensions = {"sni_hostname": host}
        async with client.stream(
            "POST", url, content=body, headers=headers, extensions=extensions
        ) as response:
            return response.status_code  # what it says besides is not read

    def _again(self, message: Message, answer: str) -> None:
        tries = message.attempts + 1
        if tries >= TRIES:
            self._end(message, "failed", answer)
            return
        pause = min(self._pause * 2 ** (tries - 1), LONGEST_PAUSE_SECONDS)
        log.info("webhook %s: try %d: %s; again in %g s", message.id, tries, answer[:200], pause)
        self._outbox.again(message.id, self._now() + round(pause * 1_000_000), answer[:500])

    def _end(self, message: Message, outcome: str, answer: str) -> None:
        level = logging.INFO if outcome == "delivered" else logging.WARNING
        log.log(level, "webhook %s (%s) %s: %s", message.id, message.event, outcome, answer[:200])
        self._outbox.done(message.id, outcome, answer[:500], self._now())
