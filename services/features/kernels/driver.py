"""The one compiled entry point: a chunk of ticks through decisions, bars and every family of a feature set."""

import math
from collections.abc import Callable

from numba import types

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import FLOATS_IN, INTS_IN, code_fingerprint, kernel, kernel_part
from libs.common.trading.decision import NO_TIME, mark_decisions
from services.features.kernels.bars import build_base_bars, build_higher_bars
from services.features.kernels.dispatch import run_on_bars, run_on_rows, run_on_ticks
from services.features.kernels.layout import (
    BAR_FLOATS,
    BAR_INTS,
    CLOCK,
    CLOSED,
    FIRST_NS,
    FLOATS_AT,
    FLOATS_END,
    HEADER_INTS,
    INTS_AT,
    INTS_END,
    LAST_NS,
    LAST_TICK,
    NOT_FINITE,
    NOT_FINITE_TICK,
    ON_BARS,
    ON_TICKS,
    OP,
    OUTPUTS,
    PARAMS_AT,
    PARAMS_END,
    REFUSED,
    ROW_ASK,
    ROW_AT,
    ROW_BID,
    ROW_LAST,
    ROW_NS,
    ROW_VOLUME,
    ROWS,
    RULE_LENGTH,
    RULE_MODE,
    TICKS_SEEN,
    TIMEFRAME,
    VISIBLE_AT,
    WARM_NS,
    WARM_TICKS,
)

F1, F2, F3 = types.float64[::1], types.float64[:, ::1], types.float64[:, :, ::1]
I1, I2, I3 = types.int64[::1], types.int64[:, ::1], types.int64[:, :, ::1]


@kernel_part
def close_bars(
    lengths_ns: Ints, time_ns: Ints, bid: Floats, ask: Floats, ints: Ints, floats: Floats, bars_f: Floats,
    bars_i: Ints, n_bars: Ints,
) -> None:
    """Advance the bars of all timeframes; ``n_bars`` receives how many of each the chunk closes."""
    for t in range(len(lengths_ns)):
        i = ints[HEADER_INTS + t * BAR_INTS:HEADER_INTS + (t + 1) * BAR_INTS]
        f = floats[t * BAR_FLOATS:(t + 1) * BAR_FLOATS]
        if t == 0:
            n_bars[0] = build_base_bars(
                i, f, lengths_ns[0], ints[FIRST_NS], time_ns, bid, ask, bars_f[0], bars_i[0]
            )
        else:
            n_bars[t] = build_higher_bars(
                i, f, lengths_ns[t], ints[FIRST_NS], time_ns, bars_f[0], bars_i[0], n_bars[0], bars_f[t], bars_i[t]
            )


@kernel_part
def keep_warm_rows(
    settings: Ints, warm_bars: Ints, time_ns: Ints, ints: Ints, bars_i: Ints, n_bars: Ints, row_at: Ints, n_rows: int
) -> int:
    """Drop the decisions that come before every feature is warm; return how many are left."""
    warm_at = settings[WARM_TICKS] - ints[TICKS_SEEN] - 1
    for t in range(len(warm_bars)):
        wanted = warm_bars[t] - (ints[HEADER_INTS + t * BAR_INTS + CLOSED] - n_bars[t])
        if wanted > n_bars[t]:
            return 0
        if wanted > 0:
            warm_at = max(warm_at, bars_i[t, VISIBLE_AT, wanted - 1])
    kept = 0
    for r in range(n_rows):
        at = row_at[r]
        if at >= warm_at and time_ns[at] - ints[FIRST_NS] >= settings[WARM_NS]:
            row_at[kept] = at
            kept += 1
    return kept


@kernel_part
def run_bar_family(
    line: Ints, columns: Ints, params: Floats, ints: Ints, floats: Floats, bars_f: Floats, visible_at: Ints,
    n_bars: int, row_at: Ints, n_rows: int, series: Floats, out: Floats,
) -> None:
    """Advance a family over the closed bars and give each row the value of the last bar visible to it."""
    n_outputs = line[OUTPUTS]
    newest = floats[line[FLOATS_AT]:line[FLOATS_AT] + n_outputs]
    if n_bars > 0:
        run_on_bars(
            line[OP], floats[line[FLOATS_AT] + n_outputs:line[FLOATS_END]], ints[line[INTS_AT]:line[INTS_END]],
            params[line[PARAMS_AT]:line[PARAMS_END]], bars_f, n_bars, series,
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
        if n_bars > 0:
            newest[o] = series[o, n_bars - 1]


@kernel_part
def gather_rows(
    time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, scratch_f: Floats, scratch_i: Ints,
    n_rows: int,
) -> None:
    """Copy the ticks at which rows are made side by side."""
    for r in range(n_rows):
        at = scratch_i[ROW_AT, r]
        scratch_i[ROW_NS, r] = time_ns[at]
        scratch_f[ROW_BID, r] = bid[at]
        scratch_f[ROW_ASK, r] = ask[at]
        if len(last) > 0:
            scratch_f[ROW_LAST, r] = last[at]
        if len(volume) > 0:
            scratch_f[ROW_VOLUME, r] = volume[at]


@kernel_part
def run_program(
    program: Ints, columns: Ints, params: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats,
    last: Floats, volume: Floats, ints: Ints, floats: Floats, scratch_f: Floats, scratch_i: Ints, bars_f: Floats,
    bars_i: Ints, n_bars: Ints, n_rows: int, out: Floats,
) -> None:
    """Advance every family of the feature set and fill its columns of the rows."""
    row_at = scratch_i[ROW_AT]
    for q in range(len(program)):
        line = program[q]
        p = params[line[PARAMS_AT]:line[PARAMS_END]]
        if line[CLOCK] == ON_BARS:
            t = line[TIMEFRAME]
            run_bar_family(
                line, columns[q], params, ints, floats, bars_f[t], bars_i[t, VISIBLE_AT], n_bars[t], row_at, n_rows,
                scratch_f, out,
            )
            continue
        if line[CLOCK] == ON_TICKS:
            run_on_ticks(
                line[OP], floats[line[FLOATS_AT]:line[FLOATS_END]], ints[line[INTS_AT]:line[INTS_END]], p, point,
                time_ns, bid, ask, last, volume, scratch_f,
            )
        elif n_rows > 0:
            run_on_rows(
                line[OP], p, point, scratch_i[ROW_NS, :n_rows], scratch_f[ROW_BID, :n_rows],
                scratch_f[ROW_ASK, :n_rows], scratch_f[ROW_LAST, :n_rows], scratch_f[ROW_VOLUME, :n_rows], scratch_f,
            )
        for o in range(line[OUTPUTS]):
            column = columns[q, o]
            for r in range(n_rows if column >= 0 else 0):
                out[r, column] = scratch_f[o, row_at[r] if line[CLOCK] == ON_TICKS else r]


@kernel_part
def keep_finite_rows(out: Floats, row_at: Ints, n_rows: int, first_tick: int, ints: Ints) -> int:
    """Drop and count rows that hold a value which is not finite; return how many are left."""
    kept = 0
    for r in range(n_rows):
        finite = True
        for c in range(out.shape[1]):
            finite = finite and math.isfinite(out[r, c])
        if not finite:
            if ints[NOT_FINITE] == 0:
                ints[NOT_FINITE_TICK] = first_tick + row_at[r]
            ints[NOT_FINITE] += 1
            continue
        if kept < r:
            out[kept, :] = out[r, :]
            row_at[kept] = row_at[r]
        kept += 1
    return kept


@kernel_part
def walk_chunk(
    settings: Ints, lengths_ns: Ints, warm_bars: Ints, program: Ints, columns: Ints, params: Floats, point: float,
    first_tick: int, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, ints: Ints,
    floats: Floats, scratch_f: Floats, scratch_i: Ints, bars_f: Floats, bars_i: Ints, n_bars: Ints, out: Floats,
) -> int:
    """Walk a chunk of ticks of one symbol.

    Parameters
    ----------
    settings, lengths_ns, warm_bars, program, columns, params : the feature set as ``Engine`` lays it out
    point : size of a point in price units
    first_tick, time_ns, bid, ask, last, volume : the ticks, 1 to ``CHUNK``; ``last`` and ``volume`` may be empty
    ints, floats : the symbol's state, changed in place
    scratch_f, scratch_i : working space; ``scratch_i[ROW_AT]`` receives the offsets of the rows' ticks
    bars_f, bars_i, n_bars : receive the closed bars of each timeframe
    out : (CHUNK, k) receives the rows

    Returns
    -------
    Number of rows.
    """
    n = len(time_ns)
    if ints[LAST_NS] == NO_TIME:
        ints[FIRST_NS] = time_ns[0]
    row_at = scratch_i[ROW_AT]
    n_rows = mark_decisions(
        settings[RULE_MODE], settings[RULE_LENGTH], time_ns, first_tick, ints[LAST_NS], row_at
    )
    close_bars(lengths_ns, time_ns, bid, ask, ints, floats, bars_f, bars_i, n_bars)
    if ints[REFUSED] == 0:
        n_warm = keep_warm_rows(settings, warm_bars, time_ns, ints, bars_i, n_bars, row_at, n_rows)
        gather_rows(time_ns, bid, ask, last, volume, scratch_f, scratch_i, n_warm)
        run_program(
            program, columns, params, point, time_ns, bid, ask, last, volume, ints, floats, scratch_f, scratch_i,
            bars_f, bars_i, n_bars, n_warm, out,
        )
        n_rows = keep_finite_rows(out, row_at, n_warm, first_tick, ints)
    else:
        n_rows = 0
    ints[LAST_TICK] = first_tick + n - 1
    ints[LAST_NS] = max(ints[LAST_NS], time_ns[n - 1])
    ints[TICKS_SEEN] += n
    ints[ROWS] += n_rows
    return n_rows


_SIGNATURE = types.int64(
    I1, I1, I1, I2, I2, F1, types.float64, types.int64, INTS_IN, FLOATS_IN, FLOATS_IN, FLOATS_IN, FLOATS_IN, I1, F1,
    F2, I2, F3, I3, I1, F2,
)


def _compile(fingerprint: int) -> Callable[..., int]:
    @kernel(_SIGNATURE)
    def walk(
        settings: Ints, lengths_ns: Ints, warm_bars: Ints, program: Ints, columns: Ints, params: Floats,
        point: float, first_tick: int, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats,
        ints: Ints, floats: Floats, scratch_f: Floats, scratch_i: Ints, bars_f: Floats, bars_i: Ints, n_bars: Ints,
        out: Floats,
    ) -> int:
        if fingerprint == 0:  # never; read here so that it is part of the cache key
            return -1
        return walk_chunk(
            settings, lengths_ns, warm_bars, program, columns, params, point, first_tick, time_ns, bid, ask, last,
            volume, ints, floats, scratch_f, scratch_i, bars_f, bars_i, n_bars, out,
        )

    return walk


FINGERPRINT = code_fingerprint(walk_chunk)
"""Changes whenever any code a pass runs changes."""
walk = _compile(FINGERPRINT)
"""``walk_chunk`` as machine code, loaded from numba's cache where it is there."""
