"""Structured logs: JSON lines to standard output and to a rotated file."""

import logging
import logging.handlers
import sys
from pathlib import Path
from typing import Any

import structlog

_FILE_BYTES = 10_000_000
_FILES_KEPT = 5


def configure_log(service: str, folder: Path, level: str) -> Any:
    """Set up logging for this process and return its logger.

    Parameters
    ----------
    service : bound to every line
    folder : where ``<service>.log`` goes, rotated at 10 MB, five kept
    level : ``debug``, ``info``, ``warning`` or ``error``
    """
    folder.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.StreamHandler(sys.stdout),
        logging.handlers.RotatingFileHandler(
            folder / f"{service}.log", maxBytes=_FILE_BYTES, backupCount=_FILES_KEPT, encoding="utf-8"
        ),
    ]
    logging.basicConfig(level=level.upper(), format="%(message)s", handlers=handlers, force=True)
    for noisy in ("nats", "aiosqlite", "numba", "asyncio", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return structlog.get_logger(service).bind(service=service)
