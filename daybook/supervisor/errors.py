"""Why `daybook up` does not start, or gives up."""


class SupervisorError(Exception):
    """`daybook up` cannot go on; the message says what to do.

    SupervisorError
    ├── AlreadyRuns   another `daybook up` has this data folder
    ├── PortTaken     somebody else listens where we should
    └── GaveUp        a process never came to serve
    """


class AlreadyRuns(SupervisorError):
    """Another supervisor holds the folder."""

    def __init__(self, data: str, pid: str) -> None:
        super().__init__(f"daybook already runs on {data} (process {pid}): stop it, or choose another --data")


class PortTaken(SupervisorError):
    """An address is in use, or is not ours to use."""

    def __init__(self, option: str, address: str, why: str) -> None:
        super().__init__(f"cannot listen on {address}: {why}. Free it, or choose another {option}")


class GaveUp(SupervisorError):
    """A process never came to serve, however often it was started."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} does not start: {why}")
