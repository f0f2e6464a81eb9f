"""``tickwire warm``: compile everything that is compiled, once."""

import importlib
import importlib.util
import pkgutil
import time

import typer
from rich.progress import Progress

import services
from tickwire.console import err, out

APPS = {"warm": typer.Typer(add_completion=False)}
_PACKAGES = ("libs.common.trading", "libs.common.mt5", "libs.common.stats", "libs.common.models")


@APPS["warm"].command(name="warm")
def warm() -> None:
    """Compile all kernels into the cache, so that no service compiles on a live tick."""
    began = time.perf_counter()
    modules = kernel_modules()
    with Progress(console=err, transient=True) as progress:
        for name in progress.track(modules, description="compiling"):
            importlib.import_module(name)
        from services.features.kernels.entry import address_of
        from services.features.registry import FAMILIES

        for family in progress.track(FAMILIES.values(), description="compiling features"):
            address_of(family.kernel)
    out.print(
        f"{len(modules)} modules with kernels and {len(FAMILIES)} feature families are compiled "
        f"({time.perf_counter() - began:.1f} s)"
    )


def kernel_modules() -> list[str]:
    """Return every module that declares kernels; importing one compiles them."""
    found = []
    for package in (*_PACKAGES, *(f"services.{entry.name}" for entry in pkgutil.iter_modules(services.__path__))):
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            found += _modules_with_kernels(folder, package)
    return sorted(found)


def _modules_with_kernels(folder: str, package: str) -> list[str]:
    found = []
    for entry in pkgutil.walk_packages([folder], prefix=f"{package}."):
        spec = importlib.util.find_spec(entry.name)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            continue
        with open(spec.origin, encoding="utf-8") as source:
            if "@kernel(" in source.read():
                found.append(entry.name)
    return found
