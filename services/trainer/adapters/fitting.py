"""Runs one fitting process at a time and reads what it leaves behind."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec

from libs.common.errors import DataError, TickwireError
from libs.common.models.bundle import Bundle
from services.trainer.adapters.exchange import Report, read_refusal, read_result, write_work
from services.trainer.dataset import Dataset
from services.trainer.work import FitRequest

MODULE = "services.trainer.adapters.fit_process"
_LAST_WORDS = 2_000


class FittingFailed(TickwireError):
    """The fitting process left no usable result. A later try with more rows may succeed.

    Parameters
    ----------
    reason : ``timeout``, ``crashed``, ``refused``, ``corrupt``
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


class Fitted(msgspec.Struct, frozen=True):
    """A checked result: the bundle's files and what is known of them."""

    report: Report
    files: dict[str, bytes]


class FittingProcess:
    """Starts ``fit_process`` in a folder of its own and kills it when it takes too long.

    Parameters
    ----------
    work_dir : where the folders are made; they are removed afterwards
    timeout_s : the process is killed after this long
    command : what to start; the folder is appended
    """

    def __init__(self, work_dir: Path, timeout_s: float, command: tuple[str, ...] = ()) -> None:
        self._work_dir, self._timeout_s = work_dir, timeout_s
        self._command = command or (sys.executable, "-m", MODULE)
        # Two at once would only take turns on the cores the services need.
        self._one_at_a_time = asyncio.Lock()

    def clear(self) -> None:
        """Remove what an earlier, killed trainer left behind."""
        shutil.rmtree(self._work_dir, ignore_errors=True)
        self._work_dir.mkdir(parents=True, exist_ok=True)

    async def run(self, dataset: Dataset, request: FitRequest, champion: Bundle | None) -> Fitted:
        """Fit, off the loop.

        Raises
        ------
        FittingFailed : when there is no usable result
        """
        async with self._one_at_a_time:
            folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="fit-", dir=self._work_dir))
            try:
                await asyncio.to_thread(write_work, folder, dataset, request, champion)
                await self._run_in(folder)
                report, files = await asyncio.to_thread(read_result, folder)
            except DataError as error:
                raise FittingFailed("corrupt", str(error)) from error
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            return Fitted(report, files)

    async def _run_in(self, folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = await asyncio.create_subprocess_exec(
            *self._command, str(folder), env=environment, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            # Its standard input stays open and empty: it ends when we do.
            words = await asyncio.wait_for(process.stderr.read(), self._timeout_s)
            code = await asyncio.wait_for(process.wait(), self._timeout_s)
        except TimeoutError:
            raise FittingFailed("timeout", f"killed after {self._timeout_s:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if code != 0:
            refusal = await asyncio.to_thread(read_refusal, folder)
            if refusal:
                raise FittingFailed("refused", refusal)
            last_words = words[-_LAST_WORDS:].decode("utf-8", "replace").strip()
            raise FittingFailed("crashed", f"exit code {code}" + (f": {last_words}" if last_words else ""))
