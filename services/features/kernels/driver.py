"""The one compiled entry point: a chunk of ticks through decisions, bars and every family of a feature set."""

import math
from collections.abc import Callable

from numba import types

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import FLOATS_IN, INTS_IN, code_fingerprint, kernel, kernel_part
from libs.common.trading.decision import NO_TIME, mark_decisions
from services.features.kernels import layout as at
from services.features.kernels.bars import build_base_bars, build_higher_bars
from services.features.kernels.entry import ABI, invoke

NS_PER_S = 1_000_000_000
F1, F2, F3 = types.float64[::1], types.float64[:, ::1], types.float64[:, :, ::1]
I1, I2, I3 = types.int64[::1], types.int64[:, ::1], types.int64[:, :, ::1]


@kernel_part
def close_bars(
    anchor: int, lengths_ns: Ints, time_ns: Ints, bid: Floats, ask: Floats, ints: Ints, floats: Floats, bars_f: Floats,
    bars_i: Ints, n_bars: Ints,
) -> None:
    """Advance the bars of all timeframes; ``n_bars`` receives how many of each the chunk closes."""
    for t in range(len(lengths_ns)):
        i = ints[at.HEADER_INTS + t * at.BAR_INTS:at.HEADER_INTS + (t + 1) * at.BAR_INTS]
        f = floats[t * at.BAR_FLOATS:(t + 1) * at.BAR_FLOATS]
        if t == 0:
            n_bars[0] = build_base_bars(
                i, f, lengths_ns[0], ints[at.FIRST_NS], time_ns, bid, ask, bars_f[0], bars_i[0]
            )
        else:
            n_bars[t] = build_higher_bars(
                i, f, lengths_ns[t], ints[at.FIRST_NS], time_ns, bars_f[0], bars_i[0], n_bars[0], bars_f[t], bars_i[t],
                anchor,
            )
        for b in range(n_bars[t]):
            bars_f[t, at.OPEN_S, b] = bars_i[t, at.OPEN_NS, b] // NS_PER_S
            bars_f[t, at.TICK_COUNT, b] = bars_i[t, at.TICKS, b]


@kernel_part
def keep_warm_rows(
    settings: Ints, warm_bars: Ints, time_ns: Ints, ints: Ints, bars_i: Ints, n_bars: Ints, row_at: Ints, n_rows: int
) -> int:
    """Drop the decisions that come before every feature is warm; return how many are left."""
    warm_at = settings[at.WARM_TICKS] - ints[at.TICKS_SEEN] - 1
    for t in range(len(warm_bars)):
        wanted = warm_bars[t] - (ints[at.HEADER_INTS + t * at.BAR_INTS + at.CLOSED] - n_bars[t])
        if wanted > n_bars[t]:
            return 0
        if wanted > 0:
            warm_at = max(warm_at, bars_i[t, at.VISIBLE_AT, wanted - 1])
    kept = 0
    for r in range(n_rows):
        tick = row_at[r]
        if tick >= warm_at and time_ns[tick] - ints[at.FIRST_NS] >= settings[at.WARM_NS]:
            row_at[kept] = tick
            kept += 1
    return kept


@kernel_part
def repeat_newest(
    program: Ints, columns: Ints, q: int, floats: Floats, n_rows: int, out: Floats
) -> None:
    """Give every row the value of the last bar: none was closed since. The usual case of a live tick."""
    begin = program[q, at.FLOATS_AT]
    for o in range(program[q, at.OUTPUTS]):
        column = columns[q, o]
        for r in range(n_rows if column >= 0 else 0):
            out[r, column] = floats[begin + o]


@kernel_part
def run_bar_family(
    line: Ints, columns: Ints, params: Floats, ints: Ints, floats: Floats, bars_f: Floats, visible_at: Ints,
    n_bars: int, row_at: Ints, n_rows: int, series: Floats, out: Floats,
) -> None:
    """Advance a family over the closed bars and give each row the value of the last bar visible to it."""
    n_outputs = line[at.OUTPUTS]
    newest = floats[line[at.FLOATS_AT]:line[at.FLOATS_AT] + n_outputs]
    invoke(
        line[at.ADDRESS], n_bars, 0.0,
        (
            floats[line[at.FLOATS_AT] + n_outputs:line[at.FLOATS_END]], ints[line[at.INTS_AT]:line[at.INTS_END]],
            params[line[at.PARAMS_AT]:line[at.PARAMS_END]], bars_f, series,
        ),
    )
    for o in range(n_outputs):
        column = columns[o]
        value = newest[o]
        b = 0
        for r in range(n_rows if column >= 0 else 0):
            while b < n_bars and visible_at[b] <= row_at[r]:
                value = series[o, b]
                b += 1
            out[r, column] = value
        newest[o] = series[o, n_bars - 1]


@kernel_part
def gather_column(column: Floats, row_at: Ints, n_rows: int, gathered: Floats) -> None:
    """Copy a column's values at the rows side by side; an empty column stays as it is."""
    for r in range(n_rows if len(column) > 0 else 0):
        gathered[r] = column[row_at[r]]


@kernel_part
def gather_rows(
    time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, bid_lots: Floats, ask_lots: Floats,
    scratch_f: Floats, scratch_i: Ints, n_rows: int,
) -> None:
    """Copy the ticks at which rows are made side by side."""
    row_at = scratch_i[at.ROW_AT]
    for r in range(n_rows):
        scratch_i[at.ROW_NS, r] = time_ns[row_at[r]]
    gather_column(bid, row_at, n_rows, scratch_f[at.ROW_BID])
    gather_column(ask, row_at, n_rows, scratch_f[at.ROW_ASK])
    gather_column(last, row_at, n_rows, scratch_f[at.ROW_LAST])
    gather_column(volume, row_at, n_rows, scratch_f[at.ROW_VOLUME])
    gather_column(bid_lots, row_at, n_rows, scratch_f[at.ROW_BID_LOTS])
    gather_column(ask_lots, row_at, n_rows, scratch_f[at.ROW_ASK_LOTS])


@kernel_part
def run_program(
    program: Ints, columns: Ints, params: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats,
    last: Floats, volume: Floats, bid_lots: Floats, ask_lots: Floats, ints: Ints, floats: Floats, scratch_f: Floats,
    scratch_i: Ints, bars_f: Floats, bars_i: Ints, n_bars: Ints, n_rows: int, out: Floats,
) -> None:
    """Advance every family that looks at the market and fill its columns of the rows."""
    row_at = scratch_i[at.ROW_AT, :n_rows]
    for q in range(len(program)):
        if program[q, at.CLOCK] == at.ON_BARS:
            t = program[q, at.TIMEFRAME]
            if n_bars[t] == 0:
                repeat_newest(program, columns, q, floats, n_rows, out)
            else:
                run_bar_family(
                    program[q], columns[q], params, ints, floats, bars_f[t], bars_i[t, at.VISIBLE_AT], n_bars[t],
                    row_at, n_rows, scratch_f, out,
                )
            continue
        line = program[q]
        p = params[line[at.PARAMS_AT]:line[at.PARAMS_END]]
        if line[at.CLOCK] == at.ON_TICKS:
            invoke(
                line[at.ADDRESS], len(time_ns), point,
                (
                    floats[line[at.FLOATS_AT]:line[at.FLOATS_END]], ints[line[at.INTS_AT]:line[at.INTS_END]], p,
                    time_ns, bid, ask, last, volume, bid_lots, ask_lots, row_at, scratch_f,
                ),
            )
            for o in range(line[at.OUTPUTS]):
                for r in range(n_rows if columns[q, o] >= 0 else 0):
                    out[r, columns[q, o]] = scratch_f[o, row_at[r]]
        elif line[at.CLOCK] == at.ON_ROWS and n_rows > 0:
            invoke(
                line[at.ADDRESS], n_rows, point,
                (
                    p, scratch_i[at.ROW_NS, :n_rows], scratch_f[at.ROW_BID, :n_rows], scratch_f[at.ROW_ASK, :n_rows],
                    scratch_f[at.ROW_LAST, :n_rows], scratch_f[at.ROW_VOLUME, :n_rows],
                    scratch_f[at.ROW_BID_LOTS, :n_rows], scratch_f[at.ROW_ASK_LOTS, :n_rows], scratch_f,
                ),
            )
            copy_outputs(line[at.OUTPUTS], columns[q], scratch_f, n_rows, out)


@kernel_part
def copy_outputs(n_outputs: int, columns: Ints, values: Floats, n_rows: int, out: Floats) -> None:
    """Copy a family's values of the rows into their columns."""
    for o in range(n_outputs):
        for r in range(n_rows if columns[o] >= 0 else 0):
            out[r, columns[o]] = values[o, r]


@kernel_part
def run_series(
    program: Ints, columns: Ints, params: Floats, ints: Ints, floats: Floats, scratch_f: Floats, n_rows: int,
    out: Floats,
) -> None:
    """Advance every family that follows another feature from row to row."""
    for q in range(len(program)):
        line = program[q]
        if line[at.CLOCK] != at.ON_SERIES:
            continue
        values = scratch_f[at.ROW_VALUE, :n_rows]
        for r in range(n_rows):
            values[r] = out[r, line[at.SOURCE]]
        invoke(
            line[at.ADDRESS], n_rows, 0.0,
            (
                floats[line[at.FLOATS_AT]:line[at.FLOATS_END]], ints[line[at.INTS_AT]:line[at.INTS_END]],
                params[line[at.PARAMS_AT]:line[at.PARAMS_END]], values, scratch_f,
            ),
        )
        copy_outputs(line[at.OUTPUTS], columns[q], scratch_f, n_rows, out)


@kernel_part
def keep_finite_rows(
    waits: Ints, stage: int, out: Floats, row_at: Ints, n_rows: int, first_tick: int, ints: Ints
) -> int:
    """Drop rows that hold a value which is not finite; return how many are left.

    A value that is not known yet (NaN where ``waits`` says so) drops its row in silence; any other is counted.
    Columns above ``stage`` have not been filled yet.
    """
    kept = 0
    for r in range(n_rows):
        finite, broken = True, False
        for c in range(out.shape[1]):
            if waits[c] > stage or math.isfinite(out[r, c]):
                continue
            finite = False
            broken = broken or waits[c] != at.UNTIL_KNOWN or not math.isnan(out[r, c])
        if broken:
            if ints[at.NOT_FINITE] == 0:
                ints[at.NOT_FINITE_TICK] = first_tick + row_at[r]
            ints[at.NOT_FINITE] += 1
        if finite:
            if kept < r:
                out[kept, :] = out[r, :]
                row_at[kept] = row_at[r]
            kept += 1
    return kept


@kernel_part
def follow_rows(
    settings: Ints, waits: Ints, program: Ints, columns: Ints, params: Floats, first_tick: int, ints: Ints,
    floats: Floats, scratch_f: Floats, row_at: Ints, n_rows: int, out: Floats,
) -> int:
    """Run the families that follow other features, and drop the rows in which they are not warm."""
    run_series(program, columns, params, ints, floats, scratch_f, n_rows, out)
    early = max(0, min(n_rows, settings[at.WARM_ROWS] - ints[at.ROWS_SEEN]))
    ints[at.ROWS_SEEN] += n_rows
    for r in range(early, n_rows if early > 0 else 0):
        out[r - early, :] = out[r, :]
        row_at[r - early] = row_at[r]
    return keep_finite_rows(waits, at.LATER - 1, out, row_at, n_rows - early, first_tick, ints)


@kernel_part
def walk_chunk(
    settings: Ints, program: Ints, columns: Ints, params: Floats, point: float, first_tick: int, time_ns: Ints,
    bid: Floats, ask: Floats, last: Floats, volume: Floats, bid_lots: Floats, ask_lots: Floats, ints: Ints,
    floats: Floats, scratch_f: Floats, scratch_i: Ints, bars_f: Floats, bars_i: Ints, n_bars: Ints, out: Floats,
) -> int:
    """Walk a chunk of ticks of one symbol.

    Parameters
    ----------
    settings, program, columns, params : the feature set as ``Engine`` lays it out
    point : size of a point in price units
    first_tick, time_ns, bid, ask : the ticks, 1 to ``CHUNK``
    last, volume, bid_lots, ask_lots : their other columns; may be empty
    ints, floats : the symbol's state, changed in place
    scratch_f, scratch_i : working space; ``scratch_i[ROW_AT]`` receives the offsets of the rows' ticks
    bars_f, bars_i, n_bars : receive the closed bars of each timeframe
    out : (CHUNK, k) receives the rows

    Returns
    -------
    Number of rows.
    """
    n, n_timeframes = len(time_ns), len(n_bars)
    lengths_ns = settings[at.SETTINGS:at.SETTINGS + n_timeframes]
    warm_bars = settings[at.SETTINGS + n_timeframes:at.SETTINGS + 2 * n_timeframes]
    waits = settings[at.SETTINGS + 2 * n_timeframes:]
    if ints[at.LAST_NS] == NO_TIME:
        ints[at.FIRST_NS] = time_ns[0]
    row_at = scratch_i[at.ROW_AT]
    n_rows = mark_decisions(
        settings[at.RULE_MODE], settings[at.RULE_LENGTH], time_ns, first_tick, ints[at.LAST_NS], row_at
    )
    close_bars(settings[at.ANCHOR], lengths_ns, time_ns, bid, ask, ints, floats, bars_f, bars_i, n_bars)
    if ints[at.REFUSED] == 0:
        n_rows = keep_warm_rows(settings, warm_bars, time_ns, ints, bars_i, n_bars, row_at, n_rows)
        gather_rows(time_ns, bid, ask, last, volume, bid_lots, ask_lots, scratch_f, scratch_i, n_rows)
        run_program(
            program, columns, params, point, time_ns, bid, ask, last, volume, bid_lots, ask_lots, ints, floats,
            scratch_f, scratch_i, bars_f, bars_i, n_bars, n_rows, out,
        )
        n_rows = keep_finite_rows(waits, at.UNTIL_KNOWN, out, row_at, n_rows, first_tick, ints)
        if settings[at.FOLLOWERS] > 0:
            n_rows = follow_rows(
                settings, waits, program, columns, params, first_tick, ints, floats, scratch_f, row_at, n_rows, out
            )
    else:
        n_rows = 0
    ints[at.LAST_TICK] = first_tick + n - 1
    ints[at.LAST_NS] = max(ints[at.LAST_NS], time_ns[n - 1])
    ints[at.TICKS_SEEN] += n
    ints[at.ROWS] += n_rows
    return n_rows


_SIGNATURE = types.int64(
    I1, I2, I2, F1, types.float64, types.int64, INTS_IN, FLOATS_IN, FLOATS_IN, FLOATS_IN, FLOATS_IN, FLOATS_IN,
    FLOATS_IN, I1, F1, F2, I2, F3, I3, I1, F2,
)


def _compile(fingerprint: int) -> Callable[..., int]:
    @kernel(_SIGNATURE)
    def walk(
        settings: Ints, program: Ints, columns: Ints, params: Floats, point: float, first_tick: int, time_ns: Ints,
        bid: Floats, ask: Floats, last: Floats, volume: Floats, bid_lots: Floats, ask_lots: Floats, ints: Ints,
        floats: Floats, scratch_f: Floats, scratch_i: Ints, bars_f: Floats, bars_i: Ints, n_bars: Ints, out: Floats,
    ) -> int:
        if fingerprint == 0:  # never; read here so that it is part of the cache key
            return -1
        return walk_chunk(
            settings, program, columns, params, point, first_tick, time_ns, bid, ask, last, volume, bid_lots,
            ask_lots, ints, floats, scratch_f, scratch_i, bars_f, bars_i, n_bars, out,
        )

    return walk


FINGERPRINT = code_fingerprint(walk_chunk) + ABI
"""Changes whenever any code of the pass changes; the families' machine code is kept apart (see ``entry.py``)."""
walk = _compile(FINGERPRINT)
"""``walk_chunk`` as machine code, loaded from numba's cache where it is there."""


@kernel(types.void(types.int64, F1, F1, F2, F1))
def call_cross(address: int, p: Floats, closes: Floats, related: Floats, out: Floats) -> None:
    """Run a cross-asset family over the bars its symbols have in common."""
    invoke(address, len(closes), 0.0, (p, closes, related, out))
