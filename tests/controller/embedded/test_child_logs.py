"""The logs of children stay bounded: `controller.embedded.logs`."""

from __future__ import annotations

import os
from pathlib import Path

from controller.embedded import logs


def test_a_small_log_stays_as_it_is(tmp_path: Path) -> None:
    """Below the limit nothing happens."""
    log = tmp_path / "router.log"
    log.write_text("one\n")

    assert not logs.rotate(log, largest_bytes=10)
    assert log.read_text() == "one\n"


def test_a_large_log_is_moved_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    """The writer's open file starts again from nothing, and the old text is kept once."""
    log = tmp_path / "router.log"
    writer = logs.open_log(log)
    os.write(writer, b"old " * 10)

    assert logs.rotate(log, largest_bytes=10)
    os.write(writer, b"new\n")
    os.close(writer)

    assert log.read_text() == "new\n"
    assert (tmp_path / "router.log.1").read_text() == "old " * 10


def test_a_log_that_is_not_there_needs_nothing(tmp_path: Path) -> None:
    """Rotating or reading what does not exist is no error."""
    logs.rotate(tmp_path / "none.log")

    assert logs.tail(tmp_path / "none.log") == ""


def test_the_last_words_are_one_clipped_line(tmp_path: Path) -> None:
    """The end of a log fits into a message, whatever bytes are in it."""
    log = tmp_path / "worker.log"
    log.write_bytes(b"first\n" + b"\xff" * 9000 + b"\nlast\n")

    found = logs.tail(log, lines=2)

    assert found.endswith("| last")
    assert "\n" not in found
    assert len(found) < 1000
