"""Errors that cross a border, each with what to do about it.

::

    TickwireError
    ├── ConfigError        a setting is wrong: mend the file, then start again
    ├── DataError          a file or a row cannot be read: nothing was half-written
    ├── MalformedMessage   a message cannot be decoded: dead-lettered, safe to go on
    ├── BusError           the bus cannot be used as asked
    ├── ArtifactError      a model bundle is broken, unsigned or of another schema: keep the old one
    ├── StorageError       the disk refuses: stop writing, keep what is whole
    └── BrokerError        the broker or its terminal failed before anything was sent: safe to try again
        └── OutcomeUncertain   something may have been sent: never resend, reconcile
"""


class TickwireError(Exception):
    """Base of all errors a user may see; the text names the place and the remedy."""


class ConfigError(TickwireError):
    """A setting is wrong. Retrying does not help."""


class DataError(TickwireError):
    """A market data file cannot be used. Retrying does not help."""

    def __init__(self, path: str, problem: str, line: int | None = None, remedy: str = "") -> None:
        self.path, self.problem, self.line, self.remedy = path, problem, line, remedy
        place = path if line is None else f"{path}, line {line}"
        super().__init__(f"{place}: {problem}" + (f". {remedy}" if remedy else ""))


class MalformedMessage(TickwireError):
    """A payload is not a message of the expected kind. Retrying does not help."""

    def __init__(self, subject: str, problem: str) -> None:
        self.subject, self.problem = subject, problem
        super().__init__(f"{subject or 'message'}: {problem}")


class BusError(TickwireError):
    """The bus cannot be used as asked. Retrying may help once the remedy in the text was applied."""


class ArtifactError(TickwireError):
    """A model bundle must not be used. Retrying does not help."""


class StorageError(TickwireError):
    """A write to disk failed and left nothing half-written. Retrying helps once there is room."""


class BrokerError(TickwireError):
    """The broker failed before anything was sent. Retrying is safe."""


class OutcomeUncertain(BrokerError):
    """The terminal never said whether the order arrived. Do not resend: reconcile by ``order_id``."""

    def __init__(self, order_id: str, retcode: int | None, reason: str = "") -> None:
        self.order_id, self.retcode = order_id, retcode
        super().__init__(f"outcome of order {order_id} unknown (retcode {retcode})" + (f": {reason}" if reason else ""))


def last_line_in(error: BaseException, file: str) -> int:
    """Return the last line of a file that an error passed through; 0 for none."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
