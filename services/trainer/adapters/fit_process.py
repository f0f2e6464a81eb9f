"""The fitting process: ``python -m services.trainer.adapters.fit_process FOLDER``.

It reads its work from the folder, writes the result there and exits: 0 with a result, 2 with a refusal. It holds no
key, opens no connection and steps back behind the services it shares the machine with. It ends when its standard
input does, so that it never outlives the trainer.
"""

import os
import sys
import threading
from pathlib import Path

from libs.common.errors import ArtifactError, DataError
from libs.common.models.predictor import load_predictor
from services.trainer.adapters.exchange import read_work, write_refusal, write_result
from services.trainer.fit import fit

REFUSED = 2
ORPHANED = 3


def _end_with_parent() -> None:
    # Not through sys.stdin: the interpreter could not take its buffer down while this thread waits in it.
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)


def main(folder: Path) -> int:
    """Do the work in ``folder`` and return the exit code."""
    try:
        dataset, request, champion = read_work(folder)
        outcome = fit(dataset, request, load_predictor(champion) if champion is not None else None)
    except (ArtifactError, DataError) as error:
        write_refusal(folder, str(error))
        return REFUSED
    write_result(folder, outcome)
    return 0


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):  # Windows has none
        os.nice(5)
    sys.exit(main(Path(sys.argv[1])))
