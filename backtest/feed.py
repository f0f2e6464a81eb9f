"""Good ticks for a run, judged and cut by the live ingest's own rules."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from backtest.wiring import Sections
from libs.common.messages.base import Message
from libs.common.messages.market import TickBlock
from services.ingest.core import IngestCore
from services.ingest.merge import merged
from services.ingest.raw import RawTicks

WHOLE = 1_000_000_000
"""More ticks than a chunk of any source holds: nothing is cut."""


def blocks_of(
    sections: Sections, sources: Mapping[str, Iterable[RawTicks]], kept_back: Counter[str] | None = None
) -> Iterator[TickBlock]:
    """Yield the blocks an ``Engine`` wants: long ones of one symbol, or those of several cut and merged as in life.

    Parameters
    ----------
    sources : symbol -> its raw ticks, in order of time
    kept_back : counts the ticks that a rule of quality keeps back, by rule
    """
    symbols = tuple(sorted(sources))
    sessions = {symbol: config.session for symbol, config in sections.instruments.items()}
    if len(symbols) == 1:
        whole = msgspec.structs.replace(sections.ingest, max_block=WHOLE)
        core = IngestCore(whole, symbols, None, sessions)
        for raw in sources[symbols[0]]:
            yield from _only_blocks(_judged(core, raw, kept_back))
        return
    core = IngestCore(sections.ingest, symbols, sections.system.decide_on, sessions)
    streams = {symbol: _all_judged(core, sources[symbol], kept_back) for symbol in symbols}
    for group in merged(streams):
        yield from _only_blocks(group)


def _all_judged(
    core: IngestCore, source: Iterable[RawTicks], kept_back: Counter[str] | None
) -> Iterator[tuple[Message, ...]]:
    for raw in source:
        yield _judged(core, raw, kept_back)


def _judged(core: IngestCore, raw: RawTicks, kept_back: Counter[str] | None) -> tuple[Message, ...]:
    ingested = core.on_raw_ticks(raw, 0)
    if kept_back is not None:
        kept_back.update(tick.rule for tick in ingested.quarantined)
    return ingested.messages


def _only_blocks(messages: Iterable[Message]) -> Iterator[TickBlock]:
    for message in messages:
        if isinstance(message, TickBlock):
            yield message
