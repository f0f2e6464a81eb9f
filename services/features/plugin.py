"""How a user adds a feature family of his own, without touching the library.

A plugin is a Python file named in ``features.plugins`` of ``config.yaml``, or a module that an installed package
registers under the entry point group ``tickwire.features``. It decorates one kernel per family::

    import math

    from services.features.plugin import Clock, Parameter, WarmUp, feature_family
    from services.features.kernels.layout import CLOSE

    @feature_family(
        clock=Clock.BARS, outputs={"streak": "bars in a row that closed higher (+) or lower (-)"},
        parameters={"most": Parameter(10, meaning="bars")},
        warm_up=lambda p: WarmUp(bars=int(p["most"]) + 1), floats=lambda p: 1, ints=2,
    )
    def streak(f, i, p, bars, n, out):
        '''Length of the present run of rising or falling closes, at most ``most``.'''
        for b in range(n):
            close = bars[CLOSE, b]
            ...

The kernel is compiled like ours and called like ours; ``tickwire features check FILE`` runs the conformance suite
on it. Functions it calls are marked with ``kernel_part``.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from libs.common.errors import ConfigError
from libs.common.trading.compiled import kernel_part
from services.features.family import Clock, Family, Parameter, Params, WarmUp, no_problem, no_warm_up
from services.features.kernels.entry import argument_names, forms_of
from services.features.registry import add_family

__all__ = ["Clock", "Family", "Parameter", "WarmUp", "feature_family", "kernel_part"]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def feature_family(
    *,
    clock: Clock,
    outputs: Mapping[str, str],
    parameters: Mapping[str, Parameter] | None = None,
    inputs: tuple[str, ...] = ("quotes",),
    warm_up: Callable[[Params], WarmUp] = no_warm_up,
    floats: Callable[[Params], int] = lambda p: 0,
    ints: int = 1,
    version: int = 1,
    problem: Callable[[Params], str] = no_problem,
    name: str = "",
    group: str = "Plugins",
) -> Callable[[Kernel], Kernel]:
    """Register the decorated kernel as a family; the arguments are those of ``Family``, the name is the function's.

    Raises
    ------
    ConfigError : when the kernel's arguments are not those of its clock, or the name is taken
    """

    def register(kernel: Kernel) -> Kernel:
        family = Family(
            name or kernel.__name__, clock, kernel_part(kernel), version, dict(outputs), dict(parameters or {}),
            frozenset(inputs), warm_up, floats, 0 if clock in (Clock.ROWS, Clock.CROSS) else ints, problem, group,
        )
        allowed = forms_of(clock.name.lower())
        if argument_names(kernel) not in allowed:
            forms = " or ".join(f"({', '.join(names)})" for names in allowed)
            raise ConfigError(
                f"plugin {kernel.__module__}: '{family.name}' takes ({', '.join(argument_names(kernel))}); a kernel of "
                f"Clock.{clock.name} takes {forms}"
            )
        add_family(family)
        return kernel

    return register
