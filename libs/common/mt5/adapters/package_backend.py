"""The MetaTrader5 package, real or simulated, called by name for the worker."""

import os
import time
from collections.abc import Iterator
from typing import Any

from libs.common.mt5.adapters.frames import Call, Hello, Raised, answer_frames
from libs.common.mt5.adapters.functions import NAMES


class PackageBackend:
    """Calls the functions of a package; any other name is refused.

    Parameters
    ----------
    package : has the functions as attributes
    name : ``real`` or ``sim``
    version : of the package
    """

    def __init__(self, package: Any, name: str, version: str) -> None:
        self._functions = {function: getattr(package, function) for function in NAMES}
        self._name, self._version = name, version

    def greeting(self) -> Hello:
        return Hello(role="worker", backend=self._name, package=self._version, pid=os.getpid())

    def perform(self, call: Call) -> Iterator[bytes]:
        """Call a function and yield its answer; ``last_error`` is read right after it, the next call overwrites it."""
        function = self._functions.get(call.call)
        if function is None:
            refused = Raised(kind="LookupError", text=f"the worker calls no function '{call.call}'")
            yield from answer_frames(call.id, None, (0, ""), refused)
            return
        result, raised = None, None
        began = time.perf_counter_ns()
        try:
            result = function(*call.args, **call.kwargs)
        except Exception as error:  # the package raises SystemError and TypeError: these are answers too
            raised = Raised(kind=type(error).__name__, text=str(error))
        took_ns = time.perf_counter_ns() - began
        code, text = self._functions["last_error"]()
        yield from answer_frames(call.id, result, (code, text), raised, took_ns)
