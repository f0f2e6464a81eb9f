"""``python -m services.ingest --config FILE``."""

from libs.common.runtime.main import run_process
from services.ingest.config import IngestConfig
from services.ingest.shell import serve

if __name__ == "__main__":
    run_process("ingest", IngestConfig, serve)
