"""The broker's clock as the executor reads it: what ingest measured, a named clock for the rest."""

from pathlib import Path

from libs.common.mt5.adapters.clock_file import clock_path, read_clock
from libs.common.mt5.convert import OffsetHistory

_HOUR_NS = 3_600_000_000_000


class ServerClock:
    """Converts between the broker's clock and UTC.

    Parameters
    ----------
    zone : named clock that holds where nothing was measured (``NY+7``)
    root_dir : the system's data folder; None: nothing is ever measured
    """

    def __init__(self, zone: str, root_dir: Path | None = None) -> None:
        self._zone = zone
        self._path = None if root_dir is None else clock_path(root_dir)
        self._server = ""
        self._read_at_ns = -1
        self.history = OffsetHistory(zone=zone)

    def use(self, server: str) -> None:
        """Take what is known by now of a server's clock.

        Raises
        ------
        StorageError : when the file cannot be read
        """
        if self._path is None:
            return
        try:
            changed_ns = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            changed_ns = 0
        if (server, changed_ns) != (self._server, self._read_at_ns):
            self.history = read_clock(self._path, server, self._zone)
            self._server, self._read_at_ns = server, changed_ns

    def utc_ns(self, server_msc: int) -> int:
        """Return the instant of one reading of the broker's clock (ms), ns UTC; of two, the earlier one."""
        as_if_ns = server_msc * 1_000_000
        offset_s = self.history.offset_s(as_if_ns)
        guess_ns = as_if_ns - offset_s * 1_000_000_000
        # Far from a change of the clock there is one answer, and no table is needed for it.
        around = (as_if_ns - 26 * _HOUR_NS, guess_ns - _HOUR_NS, guess_ns, as_if_ns + 26 * _HOUR_NS)
        if all(self.history.offset_s(ts_ns) == offset_s for ts_ns in around):
            return guess_ns
        return self.history.utc_ns(server_msc)

    def server_s(self, ts_ns: int) -> int:
        """Return what the broker's clock shows at an instant, whole seconds."""
        return self.history.server_s(ts_ns)
