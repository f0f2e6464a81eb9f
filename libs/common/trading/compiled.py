"""How our compiled code is compiled: one place for the flags that bit equality depends on.

``kernel_part`` marks a plain function that kernels may call; it stays an ordinary Python function. ``kernel`` makes
an entry point: compiled for one explicit signature when its module is imported, kept in numba's cache folder. There
is no ``fastmath`` and no ``parallel`` anywhere, because both change the order of floating-point operations.
"""

import hashlib
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

from numba import njit, types
from numba.extending import register_jitable

Function = TypeVar("Function", bound=Callable[..., Any])

FLOATS_IN = types.Array(types.float64, 1, "C", readonly=True)
"""A column of doubles that a kernel only reads; writable arrays fit as well."""
INTS_IN = types.Array(types.int64, 1, "C", readonly=True)
"""A column of 64-bit integers that a kernel only reads; writable arrays fit as well."""


def kernel_part(function: Function) -> Function:
    """Let kernels call the function, and leave it callable from Python as it is."""
    part: Function = register_jitable(error_model="numpy")(function)
    return part


def kernel(signature: Any) -> Callable[[Function], Function]:
    """Compile an entry point for one signature and keep the machine code on disk.

    Numba's cache only watches the file of the entry point itself. An entry point that calls parts of other files
    must therefore hold their ``code_fingerprint`` in a closure variable, which is part of the cache key.
    """

    def compile_now(function: Function) -> Function:
        compiled: Function = njit(signature, cache=True, nogil=True, error_model="numpy")(function)
        return compiled

    return compile_now


def code_fingerprint(function: Callable[..., Any]) -> int:
    """Return a number that changes whenever the function, a part it calls or a constant it reads changes.

    Parameters
    ----------
    function : a plain Python function whose calls go to module-level functions

    Returns
    -------
    A positive 62-bit integer, the same in every process of one Python version.
    """
    digest = hashlib.blake2b(digest_size=8)
    seen: set[str] = set()
    waiting: list[FunctionType] = [_plain(function)]
    while waiting:
        part = waiting.pop()
        place = f"{part.__module__}.{part.__qualname__}"
        if place in seen:
            continue
        seen.add(place)
        digest.update(place.encode())
        _digest_code(part.__code__, digest)
        for name, value in _globals_of(part):
            if isinstance(value, bool | int | float | str | tuple):
                digest.update(f"{name}={value!r}".encode())
            elif isinstance(value, FunctionType) or hasattr(value, "py_func"):
                waiting.append(_plain(value))
    return (int.from_bytes(digest.digest(), "big") >> 2) | 1


def _plain(function: Any) -> FunctionType:
    plain: FunctionType = getattr(function, "py_func", function)
    return plain


def _globals_of(part: FunctionType) -> Iterator[tuple[str, Any]]:
    names = part.__code__.co_names
    for name in names:
        value = part.__globals__.get(name)
        yield name, value
        if isinstance(value, ModuleType):
            for attribute in names:
                yield f"{name}.{attribute}", getattr(value, attribute, None)


def _digest_code(code: CodeType, digest: Any) -> None:
    digest.update(code.co_code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _digest_code(constant, digest)
        else:
            digest.update(repr(constant).encode())
    digest.update(repr(code.co_names).encode())
