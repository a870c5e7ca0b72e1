"""A message as it came over the wire, with as little work done on it as possible."""

from typing import NamedTuple


class Delivery(NamedTuple):
    """What JetStream says of one delivery of a stored message.

    `delivered` counts from 1; `sequence` is the stream's, `consumer_sequence` the consumer's; `stored` is
    microseconds since the epoch; `pending` is how many more match the consumer.
    """

    consumer: str
    delivered: int
    sequence: int
    consumer_sequence: int
    stored: int
    pending: int


class Message(NamedTuple):
    """A received message. `header` is the raw block ("NATS/1.0 …"), empty when there is none."""

    subject: str
    reply: str
    data: bytes
    header: bytes = b""

    @property
    def status(self) -> int:
        """The inline status that the server puts on its own messages (404, 503, …), 0 on all others."""
        digits = self.header[9:12] if self.header[8:9] == b" " else b""
        return int(digits) if digits.isdigit() else 0

    @property
    def headers(self) -> dict[str, str]:
        """The headers, parsed anew at each call."""
        lines = self.header.split(b"\r\n")[1:]
        pairs = (line.partition(b":") for line in lines if line)
        return {name.strip().decode(): value.strip().decode("utf-8", "replace") for name, _, value in pairs}

    @property
    def delivery(self) -> Delivery:
        """What the reply subject of a consumer's message tells; ValueError on any other message.

        Its form is `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<sequence>.<consumer
        sequence>.<nanoseconds>.<pending>[.<token>]` (nats-architecture-and-design, ADR-15).
        """
        parts = self.reply.split(".")
        if len(parts) < 9 or parts[1] != "ACK":
            raise ValueError(f"not a consumer's message: {self.subject} with reply {self.reply!r}")
        at = 2 if len(parts) == 9 else 4
        _, consumer, delivered, sequence, consumer_sequence, stored, pending = parts[at : at + 7]
        return Delivery(
            consumer, int(delivered), int(sequence), int(consumer_sequence), int(stored) // 1000, int(pending)
        )
