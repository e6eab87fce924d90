"""Logs and correlation for our own processes: JSON lines on stderr, one event a line, with the ids of the moment.

Every process calls `configure` once, first thing. `bound` puts correlation and release ids on every line of what it
encloses, in this task and the tasks it starts.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

CORRELATION_HEADER = "X-Correlation-ID"
CORRELATION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""What we accept from outside; anything else is replaced, never repaired."""

TALKATIVE = ("alembic", "httpx", "temporalio.worker", "uvicorn")
"""Libraries whose info is prose about themselves, at each start or request; our own events say what matters of it."""


def configure(process: str, level: str = "info") -> None:
    """Send structlog and the standard library's logging to stderr as JSON lines.

    Args:
        process: Name of this process, on every line.
        level: debug, info, warning or error.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for talkative in TALKATIVE:
        logging.getLogger(talkative).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger; events are snake_case and past tense: `log.info("lease_granted", release=..., epoch=...)`."""
    found: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return found


@contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Put ids on every log line inside; empty ones are left out."""
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in ids.items() if value}):
        yield


def accept_correlation_id(value: str | None) -> str:
    """Return a caller's correlation ID if it is well-formed, else a new one of 32 hex digits."""
    if value is not None and CORRELATION_ID.fullmatch(value):
        return value
    return secrets.token_hex(16)
