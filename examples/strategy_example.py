"""A rule strategy of your own: copy this file, change ``decide``, name the file in the config.

    inference:
      strategy: {name: pullback, file: examples/strategy_example.py, params: {depth: 0.8}}

Then look for what it earns, for leaks of the future, and for better parameters:

    tickwire backtest  --config my.yaml --ticks EURUSD.csv
    tickwire leakcheck --config my.yaml --ticks EURUSD.csv
    tickwire sweep     --config my.yaml --ticks EURUSD.csv --param depth=0.5:3 --param protection.stop=1:4
"""

from typing import Annotated

import numpy as np
from msgspec import Meta

from libs.common.config import Settings
from services.inference.strategies import BUY, SELL, Protection, Rows, Suggestions


class Pullback(Settings, frozen=True, kw_only=True):
    """Buy a dip in a rising market, sell a rally in a falling one.

    Parameters
    ----------
    trend : feature above zero in a rising market: here the change of the last whole hour
    position : feature that is 0 at the mean and grows with the distance from it
    depth : distance from the mean that counts as a dip or a rally
    protection : how far the stops are from the entry
    horizon_s : close a position after so long, 0 for never
    """

    trend: str = "return_h1"
    position: str = "bollinger_20"
    depth: Annotated[float, Meta(gt=0, le=10)] = 1.0
    protection: Protection = Protection(feature="atr_14", unit="price", stop=2.0, target=3.0)
    horizon_s: Annotated[int, Meta(ge=0)] = 3_600

    @property
    def needs(self) -> tuple[str, ...]:
        """Name every feature you look at: a row without one is refused by name."""
        return self.trend, self.position, self.protection.feature

    @property
    def lookback(self) -> int:
        """Say how many rows before a row you look at: that many are kept between two live rows."""
        return 1

    def decide(self, rows: Rows) -> Suggestions:
        """Say what each row suggests, all rows at once.

        Look at a row and at most ``lookback`` rows before it, never after it and never at the table as a whole: live
        there is one row at a time. ``tickwire leakcheck`` finds out.
        """
        trend, position = rows.column(self.trend), rows.column(self.position)
        side = np.zeros(len(trend), dtype=np.int8)
        entered_low = (position[1:] <= -self.depth) & (position[:-1] > -self.depth)
        entered_high = (position[1:] >= self.depth) & (position[:-1] < self.depth)
        side[1:][entered_low & (trend[1:] > 0.0)] = BUY
        side[1:][entered_high & (trend[1:] < 0.0)] = SELL
        stop, target = self.protection.distances(rows)
        return Suggestions(side, stop, target, np.ones(len(side)))
