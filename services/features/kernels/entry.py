"""How the pass reaches a family's machine code: one C function per family, called by its address.

Every family is compiled by itself, when a feature set first asks for it, and kept in numba's cache under its own
name and the fingerprint of its code. So a set loads only what it uses, a changed formula recompiles only itself, and
a user's own kernel is called exactly as ours are. There is one C signature per clock; the names of a kernel's
arguments say which of the columns it wants.
"""

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
from numba import carray, types  # type: ignore[attr-defined]
from numba.core import cgutils as numba_code
from numba.extending import intrinsic

from libs.common.trading.compiled import code_fingerprint

ABI = 1
"""Counted up whenever the C signatures below change."""

cgutils: Any = numba_code
_pointer_to: Any = types.CPointer
_I, _F = types.int64, types.float64
_FP, _IP = _pointer_to(_F), _pointer_to(_I)
_F1, _I1, _F2 = (_FP, _I), (_IP, _I), (_FP, _I, _I)
"""An array in C: where it begins and its lengths."""
# A count, a number, then arrays: state, state, parameters, time, bid, ask, last, volume, two depths, rows, out.
ON_TICKS = types.void(_I, _F, *_F1, *_I1, *_F1, *_I1, *_F1, *_F1, *_F1, *_F1, *_F1, *_F1, *_I1, *_F2)
ON_ROWS = types.void(_I, _F, *_F1, *_I1, *_F1, *_F1, *_F1, *_F1, *_F1, *_F1, *_F2)
ON_BARS = types.void(_I, _F, *_F1, *_I1, *_F1, *_F2, *_F2)
ON_SERIES = types.void(_I, _F, *_F1, *_I1, *_F1, *_F1, *_F2)
ON_CROSS = types.void(_I, _F, *_F1, *_F1, *_F2, *_F1)

Kernel = Callable[..., Any]


def _kernel(*_: Any) -> None:
    """Stands where each entry point has its own kernel among its globals."""


def _ticks(  # type: ignore[no-untyped-def]
    n, point, f, nf, i, ni, p, np_, t, nt, b, nb, a, na, la, nla, v, nv, bl, nbl, al, nal, r, nr, o, o0, o1,
):
    _kernel(
        carray(f, (nf,)), carray(i, (ni,)), carray(p, (np_,)), point, carray(t, (nt,)), carray(b, (nb,)),
        carray(a, (na,)), carray(la, (nla,)), carray(v, (nv,)), carray(o, (o0, o1)),
    )


def _ticks_depth(  # type: ignore[no-untyped-def]
    n, point, f, nf, i, ni, p, np_, t, nt, b, nb, a, na, la, nla, v, nv, bl, nbl, al, nal, r, nr, o, o0, o1,
):
    _kernel(
        carray(f, (nf,)), carray(i, (ni,)), carray(p, (np_,)), point, carray(t, (nt,)), carray(b, (nb,)),
        carray(a, (na,)), carray(bl, (nbl,)), carray(al, (nal,)), carray(o, (o0, o1)),
    )


def _ticks_at_rows(  # type: ignore[no-untyped-def]
    n, point, f, nf, i, ni, p, np_, t, nt, b, nb, a, na, la, nla, v, nv, bl, nbl, al, nal, r, nr, o, o0, o1,
):
    _kernel(
        carray(f, (nf,)), carray(i, (ni,)), carray(p, (np_,)), point, carray(t, (nt,)), carray(b, (nb,)),
        carray(a, (na,)), carray(r, (nr,)), carray(o, (o0, o1)),
    )


def _rows(  # type: ignore[no-untyped-def]
    n, point, p, np_, t, nt, b, nb, a, na, la, nla, v, nv, bl, nbl, al, nal, o, o0, o1,
):
    _kernel(
        carray(p, (np_,)), point, carray(t, (nt,)), carray(b, (nb,)), carray(a, (na,)), carray(la, (nla,)),
        carray(v, (nv,)), carray(o, (o0, o1)),
    )


def _rows_depth(  # type: ignore[no-untyped-def]
    n, point, p, np_, t, nt, b, nb, a, na, la, nla, v, nv, bl, nbl, al, nal, o, o0, o1,
):
    _kernel(
        carray(p, (np_,)), point, carray(t, (nt,)), carray(b, (nb,)), carray(a, (na,)), carray(bl, (nbl,)),
        carray(al, (nal,)), carray(o, (o0, o1)),
    )


def _bars(n, point, f, nf, i, ni, p, np_, b, b0, b1, o, o0, o1):  # type: ignore[no-untyped-def]
    _kernel(
        carray(f, (nf,)), carray(i, (ni,)), carray(p, (np_,)), carray(b, (b0, b1)), n, carray(o, (o0, o1))
    )


def _series(n, point, f, nf, i, ni, p, np_, x, nx, o, o0, o1):  # type: ignore[no-untyped-def]
    _kernel(carray(f, (nf,)), carray(i, (ni,)), carray(p, (np_,)), carray(x, (nx,)), carray(o, (o0, o1)))


def _cross(n, point, p, np_, c, nc, x, x0, x1, o, no):  # type: ignore[no-untyped-def]
    _kernel(carray(p, (np_,)), carray(c, (nc,)), carray(x, (x0, x1)), carray(o, (no,)))


_FORMS: dict[tuple[str, ...], tuple[Any, FunctionType]] = {
    ("f", "i", "p", "point", "time_ns", "bid", "ask", "last", "volume", "out"): (ON_TICKS, _ticks),  # type: ignore[dict-item]
    ("f", "i", "p", "point", "time_ns", "bid", "ask", "bid_lots", "ask_lots", "out"): (ON_TICKS, _ticks_depth),  # type: ignore[dict-item]
    ("f", "i", "p", "point", "time_ns", "bid", "ask", "row_at", "out"): (ON_TICKS, _ticks_at_rows),  # type: ignore[dict-item]
    ("p", "point", "time_ns", "bid", "ask", "last", "volume", "out"): (ON_ROWS, _rows),  # type: ignore[dict-item]
    ("p", "point", "time_ns", "bid", "ask", "bid_lots", "ask_lots", "out"): (ON_ROWS, _rows_depth),  # type: ignore[dict-item]
    ("f", "i", "p", "bars", "n", "out"): (ON_BARS, _bars),  # type: ignore[dict-item]
    ("f", "i", "p", "values", "out"): (ON_SERIES, _series),  # type: ignore[dict-item]
    ("p", "closes", "related", "out"): (ON_CROSS, _cross),  # type: ignore[dict-item]
}
SIGNATURES = {"ticks": ON_TICKS, "rows": ON_ROWS, "bars": ON_BARS, "series": ON_SERIES, "cross": ON_CROSS}
"""Clock -> the C signature its families share."""

_compiled: dict[Kernel, Any] = {}


def argument_names(kernel: Kernel) -> tuple[str, ...]:
    """Return the names of a kernel's arguments, which say what it wants."""
    return tuple(inspect.signature(kernel).parameters)


def forms_of(clock: str) -> list[tuple[str, ...]]:
    """Return the argument lists a kernel of a clock may have."""
    return [names for names, (signature, _) in _FORMS.items() if signature is SIGNATURES.get(clock)]


def address_of(kernel: Kernel) -> int:
    """Return where the kernel's machine code begins in this process; compile or load it if it is not there yet.

    Raises
    ------
    KeyError : when no clock has a kernel with these arguments
    """
    if kernel not in _compiled:
        signature, form = _FORMS[argument_names(kernel)]
        # Its own globals bind the kernel; its own name keeps its machine code apart from all others' in the cache.
        entry = FunctionType(form.__code__, {**form.__globals__, "_kernel": kernel}, form.__name__)
        entry.__module__ = __name__
        entry.__qualname__ = f"{kernel.__name__}_{ABI}_{code_fingerprint(kernel):x}"
        _compiled[kernel] = numba.cfunc(signature, cache=True, error_model="numpy")(entry)
    address: int = _compiled[kernel].address
    return address


def _invoke(typing_context: Any, address: Any, n: Any, number: Any, arrays: Any) -> Any:
    """Call the C function at an address with a count, a number and the arrays of a tuple."""
    signature = types.void(address, n, number, arrays)

    def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
        at, count, real, packed = values
        arguments, kinds = [count, real], [context.get_value_type(_I), context.get_value_type(_F)]
        for position, kind in enumerate(arrays.types):
            array = context.make_array(kind)(context, builder, builder.extract_value(packed, position))
            lengths = cgutils.unpack_tuple(builder, array.shape, kind.ndim)
            arguments += [array.data, *lengths]
            kinds += [array.data.type, *(length.type for length in lengths)]
        function = cgutils.ir.FunctionType(cgutils.ir.VoidType(), kinds)
        builder.call(builder.inttoptr(at, function.as_pointer()), arguments)
        return context.get_dummy_value()

    return signature, generate


invoke: Any = intrinsic(_invoke)
"""``invoke(address, n, number, (array, ...))`` within compiled code; the arrays must fit the C signature."""
