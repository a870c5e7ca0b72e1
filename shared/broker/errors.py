"""What can go wrong between us and the broker."""


class BrokerError(Exception):
    """The broker could not do it.

    BrokerError
    ├── BrokerUnavailable   no connection could be made in time
    ├── NotSent             surely never left this process; safe to send again
    ├── NoAnswer            sent, and nothing came back: done or not, nobody knows
    ├── NoResponders        the broker answered that nobody listens on the subject
    ├── Refused             the JetStream API answered with an error
    └── UnsafeBroker        it may lose what it acknowledged, and this is production
    """


class BrokerUnavailable(BrokerError):
    """No connection could be made in time. Check the address and the credentials, or try later."""

    def __init__(self, url: str, last: BaseException | None) -> None:
        super().__init__(f"no connection to {url}: {last or 'no answer'}")
        self.url, self.last = url, last


class NotSent(BrokerError):
    """The request never left this process, so it had no effect."""


class NoAnswer(BrokerError):
    """The request was sent and no answer came: the effect is unknown."""


class NoResponders(BrokerError):
    """Nobody listens on the subject, so the request had no effect."""


class Refused(BrokerError):
    """The JetStream API refused a request; `code` is its err_code (10071 is a wrong last sequence)."""

    def __init__(self, subject: str, code: int, description: str) -> None:
        super().__init__(f"{subject}: {description} ({code})")
        self.subject, self.code, self.description = subject, code, description


class UnsafeBroker(BrokerError):
    """The broker may lose what it acknowledged, and this is production. Set its sync_interval to always."""
