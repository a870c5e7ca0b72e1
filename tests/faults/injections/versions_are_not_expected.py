"""The dispatcher appends without saying which version it expects to be free: the last writer wins."""

from collections.abc import Sequence

from tests.faults.injections import replace

ROLE = "dispatcher"


def apply() -> None:
    from shared.broker.batches import Key
    from shared.journal import journal
    from shared.journal.codec import EncodedCommit

    def unguarded(commits: Sequence[EncodedCommit]) -> list[Key]:
        return [Key(commit.subject.encode(), commit.raw, None) for commit in commits]

    replace(journal, "messages_of", unguarded)
