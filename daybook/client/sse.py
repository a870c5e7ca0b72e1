"""Reading Server-Sent Events. Source: WHATWG HTML, section 9.2.6."""

from typing import Any

import orjson

from daybook.client.models import Event, event_of


class EventReader:
    """Lines in, events out. `last_id` is what to send as Last-Event-ID to go on after the last whole group.

    The server puts the id on the last event of a commit, so events of a commit that was cut in the middle
    come again; `version` tells them apart.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self._data: list[str] = []
        self._id: str | None = None
        self._seen = 0

    def line(self, text: str) -> Event | None:
        """Take one line; the event that it completes, if it is a new one."""
        if text:
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                self._data.append(value)
            elif name == "id" and "\0" not in value:
                self._id = value
            return None
        if self._id is not None:
            self.last_id, self._id = self._id, None
        if not self._data:
            return None
        content: Any = orjson.loads("\n".join(self._data))
        self._data = []
        event = event_of(content)
        if event.version <= self._seen:
            return None
        self._seen = event.version
        return event

    def reconnected(self) -> None:
        """Forget the half of an event that a broken connection left."""
        self._data, self._id = [], None
