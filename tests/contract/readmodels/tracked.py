"""A database that remembers its sessions, so that a test need not close what it opens."""

from shared.readmodels.database import Database, Session


class Tracked:
    def __init__(self, database: Database) -> None:
        self.database = database
        self._sessions: list[Session] = []

    def reader(self) -> Session:
        return self._kept(self.database.reader())

    def served(self) -> str:
        return self.database.served()

    def writer(self) -> Session:
        return self._kept(self.database.writer())

    def beside(self) -> Session:
        return self._kept(self.database.beside())

    def swap(self) -> None:
        self.database.swap()

    def drop_beside(self) -> None:
        self.database.drop_beside()

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    def _kept(self, session: Session) -> Session:
        self._sessions.append(session)
        return session
