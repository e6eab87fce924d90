"""Every release's looks on disk, so that anybody can ask later how another policy would have judged it.

Before it: the judge's loop hands over each look that it judges. After it: `serinus replay`. Writing happens in a thread
behind a bounded queue, because a judge must never wait for a disk: what a full, slow or missing disk does not take is
dropped, and said once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Thread

from controller.judging.lines import heading_line, look_line
from controller.model.evidence import StepOrder
from controller.model.look import Look
from controller.observability import logger

log = logger(__name__)

FILE_BYTES = 16 * 1024 * 1024
"""Of one release: about half a day of one look a second."""
KEEP_BYTES = 256 * 1024 * 1024
"""Of all releases when a new one begins; the oldest go first."""
KEEP_FILES = 500
WAITING = 2_000
"""Looks that may wait for the disk: 10 s of 200 releases."""
SAID = 1_000
"""Troubles that are remembered as said."""
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,79}")
"""Release ids that can name a file."""


class LookFiles:
    """Keeps `<folder>/<release>.jsonl`, 0600 in a folder of 0700.

    Args:
        folder: Made when it is not there.
        file_bytes: Most bytes of one release; later looks of it are not kept.
        keep_bytes: Most bytes of all files at the moment a new one begins.
        keep_files: Most files, likewise.
        waiting: Most looks that wait for the disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        file_bytes: int = FILE_BYTES,
        keep_bytes: int = KEEP_BYTES,
        keep_files: int = KEEP_FILES,
        waiting: int = WAITING,
    ) -> None:
        self._folder = folder
        self._file_bytes = file_bytes
        self._keep_bytes = keep_bytes
        self._keep_files = keep_files
        self._queue: Queue[tuple[StepOrder, Look] | None] = Queue(waiting)
        self._said: set[tuple[str, str]] = set()
        self._thread = Thread(target=self._run, name="looks", daemon=True)
        self._thread.start()

    def record(self, order: StepOrder, look: Look) -> None:
        """Keep one look. Never blocks and never raises.

        Args:
            order: Of the step; its evidence is what the judge of the step began with.
            look: As it was judged.
        """
        try:
            self._queue.put_nowait((order, look))
        except Full:
            self._say(order, "the disk is too slow")

    def close(self, *, patience_s: float = 2.0) -> None:
        """Write what waits and stop; a disk that hangs is left behind after `patience_s`. Idempotent."""
        while self._thread.is_alive():
            try:
                self._queue.put_nowait(None)
                break
            except Full:
                self._drop_one()
        self._thread.join(patience_s)

    def path(self, release: str) -> Path:
        """Return where a release's looks are kept."""
        return self._folder / f"{release}.jsonl"

    def _drop_one(self) -> None:
        try:
            self._queue.get_nowait()
        except Empty:
            return

    def _run(self) -> None:
        while True:
            work = self._queue.get()
            if work is None:
                return
            try:
                self._write(*work)
            except OSError as error:
                self._say(work[0], error.strerror or str(error))
            except Exception:
                log.exception("look_not_recorded")  # the thread goes on: the next look may be an ordinary one

    def _say(self, order: StepOrder, trouble: str) -> None:
        """Say a trouble once a release; a full disk is the same news every second."""
        news = (order.release.id, trouble)
        if news in self._said:
            return
        if len(self._said) >= SAID:
            self._said.clear()
        self._said.add(news)
        log.warning("look_not_recorded", release=order.release.id, reason=trouble)

    def _write(self, order: StepOrder, look: Look) -> None:
        release = order.release.id
        if not ID.fullmatch(release):
            self._say(order, "the release's id cannot name a file")
            return
        path = self.path(release)
        if not path.exists():
            self._make_room()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _append(file, order, look, self._file_bytes)
        finally:
            os.close(file)

    def _make_room(self) -> None:
        """Remove the oldest files until a new one has a place."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = sorted(
            ((found.stat().st_mtime, found.stat().st_size, found) for found in self._folder.glob("*.jsonl")),
            reverse=True,
        )
        size = 0
        for place, (_, length, path) in enumerate(files, start=1):
            size += length
            if place >= self._keep_files or size > self._keep_bytes:
                path.unlink(missing_ok=True)


def _append(file: int, order: StepOrder, look: Look, most: int) -> None:
    size = os.fstat(file).st_size
    line = look_line(order, look)
    if size == 0:
        line = heading_line(order) + line
    elif os.pread(file, 1, size - 1) != b"\n":
        line = b"\n" + line  # a writer was killed in the middle of its last line
    if size + len(line) > most:
        raise OSError(f"its looks fill {most} bytes; later ones are not kept")
    written = os.write(file, line)
    if written < len(line):
        os.ftruncate(file, size)
        raise OSError("the disk is full")
