"""The folders of one embedded run: state (kept), runtime (sockets), the lock that makes one run a folder, the token.

First thing in `serinus up`. Everything here is for the own user alone: 0700 folders, 0600 files, and a folder that
belongs to somebody else is refused instead of used.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

from controller.errors import ConfigurationError

LONGEST_RUNTIME_PATH = 80
"""A unix socket path holds 108 bytes; names of sockets need some of them."""


LEAST_FREE_BYTES = 128 * 1024 * 1024
"""A day of databases, logs (16 MB a part at most) and access log (64 MB): less, and Temporal cannot take an abort soon."""


class AlreadyRunning(ConfigurationError):
    """Another run owns the state folder."""


def private_folder(path: Path) -> Path:
    """Make a folder for this user alone, or check one that exists.

    Raises:
        ConfigurationError: It cannot be made, is a link, or belongs to another user.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be made a folder of ours: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigurationError(f"{path}: expected a folder of this user, found something else; remove it")
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)
    return path


def require_room(path: Path) -> None:
    """Check that a folder's disk has room for a run.

    Raises:
        ConfigurationError: It has not.
    """
    free = shutil.disk_usage(path).free
    if free < LEAST_FREE_BYTES:
        raise ConfigurationError(
            f"{path}: {free // 1024**2} MB are free, {LEAST_FREE_BYTES // 1024**2} MB are needed; make room, or set "
            "SERINUS_STATE_DIR to a folder on another disk"
        )


class Claim:
    """The lock on a state folder: held until `release` or the death of the process, whatever kind of death.

    Args:
        state_dir: A folder made by `private_folder`.

    Raises:
        AlreadyRunning: Another process holds it; the message names its pid.
    """

    def __init__(self, state_dir: Path) -> None:
        path = state_dir / "lock"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._lock, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock)
            raise AlreadyRunning(
                f"a stack already runs on {state_dir} (pid {holder}); stop it, or set SERINUS_STATE_DIR to another folder"
            ) from None
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let the next run have the folder. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def common_folder() -> Path:
    """Return this user's folder under the system's temporary folder: short, private, shared by all stacks."""
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - checked to be ours below
        path = Path(base) / f"serinus-{os.getuid()}"
        if len(str(path)) <= LONGEST_RUNTIME_PATH - 20:
            try:
                return private_folder(path)
            except ConfigurationError:
                continue  # Somebody else made it first, which anybody may do in a shared folder: take a random name.
    return Path(tempfile.mkdtemp(prefix="serinus-", dir="/tmp"))


def runtime_folder(common: Path, state_dir: Path) -> Path:
    """Return the folder of the sockets of one state folder: always the same one, so that a crash leaves no litter."""
    name = hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:10]
    return private_folder(common / name)


def checked_runtime_folder(path: Path) -> Path:
    """Return a runtime folder that the settings name.

    Raises:
        ConfigurationError: Its path is too long for sockets.
    """
    if len(os.fsencode(path)) > LONGEST_RUNTIME_PATH:
        raise ConfigurationError(
            f"SERINUS_RUNTIME_DIR: expected at most {LONGEST_RUNTIME_PATH} bytes, because unix sockets live in it"
        )
    return private_folder(path)


def token(path: Path) -> str:
    """Return the API token, made at the first call and kept in a 0600 file."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        found = path.read_text().strip()
        if found:
            return found
        path.unlink()  # A run that died between making and writing the file.
        return token(path)
    fresh = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(fresh + "\n")
    return fresh
