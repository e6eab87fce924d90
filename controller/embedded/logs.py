"""Bounds the logs of children: `<name>.log` and at most one older `<name>.log.1`, each of a few megabytes.

Children write to the file themselves (opened for appending), not through a pipe of the supervisor: a supervisor that
is slow or frozen never blocks a part. Rotation copies and truncates; lines written in between are lost, which a log
may and a ledger may not.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LARGEST_BYTES = 8 * 1024 * 1024
TAIL_BYTES = 4096


def open_log(path: Path) -> int:
    """Open a log for a child and return the file descriptor; the caller closes it after the start."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def rotate(path: Path, largest_bytes: int = LARGEST_BYTES) -> bool:
    """Move the content of a log that grew too large aside; True when it did."""
    try:
        if path.stat().st_size <= largest_bytes:
            return False
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)
    except OSError:
        # No room for the copy: dropping the text frees the room that everything else needs.
        if path.exists():
            os.truncate(path, 0)
    return True


def tail(path: Path, lines: int = 1) -> str:
    """Return the last lines of a log as one clipped line, "" when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return " | ".join(line.strip()[:300] for line in text.strip().splitlines()[-lines:])
