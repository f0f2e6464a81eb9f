"""Runs trials side by side: in processes of this machine, or by Ray on several."""

import importlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from libs.common.config import SweepConfig
from libs.common.errors import ConfigError, StorageError
from tickwire.trial import Job, Outcome, be_modest, run_trial


class TrialPool(Protocol):
    """Runs jobs and yields their outcomes as they come."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]: ...

    def __enter__(self) -> Any: ...

    def __exit__(self, *args: object) -> None: ...


def pool_for(config: SweepConfig, workers: int = 0) -> TrialPool:
    """Return the pool a config asks for.

    Parameters
    ----------
    workers : instead of the config's; 0: the config's, and where that is 0 too, one per core

    Raises
    ------
    ConfigError : when it asks for Ray and Ray is not there
    """
    count = workers or config.workers or os.cpu_count() or 1
    if config.executor == "ray":
        return RayPool(config.ray_address, workers or config.workers)
    return SamePlace() if count == 1 else Processes(count)


class SamePlace:
    """Runs every job in this very process."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Yield every outcome."""
        for job in jobs:
            yield run_trial(job)

    def __enter__(self) -> "SamePlace":
        return self

    def __exit__(self, *args: object) -> None:
        """Nothing is held."""


class Processes:
    """Runs jobs in processes that are started anew (a fork would copy numba's threads and locks).

    Parameters
    ----------
    workers : how many at once
    """

    def __init__(self, workers: int) -> None:
        self._pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=be_modest)

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Yield every outcome, the quickest first.

        Raises
        ------
        StorageError : when a worker was killed
        """
        waiting = {self._pool.submit(run_trial, job) for job in jobs}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise StorageError(
                "a worker process was killed, perhaps for want of memory. Run the same command with fewer --workers: "
                "what is finished is kept."
            ) from error
        finally:
            for future in waiting:
                future.cancel()

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *args: object) -> None:
        """End the workers; after an error without waiting for what they are at."""
        failed = args[0] is not None
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=not failed, cancel_futures=True)
        if failed:
            for process in processes:
                process.terminate()


class RayPool:
    """Runs jobs as Ray tasks; every machine of the cluster needs the same Tickwire, config and data paths.

    Parameters
    ----------
    address : of a running cluster, ``auto`` or ``ray://host:10001``; empty: one on this machine
    most : jobs at once; 0: as many as the cluster takes
    """

    def __init__(self, address: str, most: int) -> None:
        try:
            self._ray: Any = importlib.import_module("ray")
        except ModuleNotFoundError as error:
            raise ConfigError(
                "sweep.executor is 'ray', but the package ray is not installed. Run `pip install ray` in Tickwire's "
                "environment, or write executor: processes."
            ) from error
        self._most = most
        try:
            self._ray.init(address=address or None, ignore_reinit_error=True, log_to_driver=False)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise ConfigError(f"sweep.ray_address {address or '(none)'}: no Ray cluster answers: {error}") from error
        self._task: Callable[[Job], Any] = self._ray.remote(run_trial).remote

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Yield every outcome, the quickest first.

        Raises
        ------
        StorageError : when the cluster loses a task
        """
        left: list[Job] = list(jobs)
        running: list[Any] = []
        try:
            while left or running:
                while left and (not self._most or len(running) < self._most):
                    running.append(self._task(left.pop(0)))
                done, running = self._ray.wait(running, num_returns=1)
                yield from self._ray.get(done)
        except self._ray.exceptions.RayError as error:
            raise StorageError(
                f"the Ray cluster lost a trial: {str(error).splitlines()[0]}. Run the same command again: what is "
                "finished is kept."
            ) from error

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *args: object) -> None:
        """Leave the cluster."""
        self._ray.shutdown()
