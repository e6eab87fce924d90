"""`serinus doctor`: is everything here that the stack needs? One line a check, with the remedy where something is missing.

Before it: a person on a new machine, or `make doctor`. It starts nothing that stays and changes nothing but the state
folder's existence. Exit code 1 when something is missing; a note (a port in use, a stack that runs) is no fault.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from controller import settings
from controller.errors import ConfigurationError

if TYPE_CHECKING:
    import typer

    from controller.settings import Settings

LEAST_PYTHON = (3, 11)
LEAST_GLIBC = (2, 31)
MACHINES = ("x86_64", "aarch64")
BINARY_DEADLINE_S = 20.0


class Grade(StrEnum):
    """How a check came out."""

    OK = "ok"
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `remedy` is "" when there is nothing to do."""

    name: str
    grade: Grade
    text: str
    remedy: str = ""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Say what is missing on this machine, with the remedy; exit code 1 when something is."""
    import typer

    findings = tuple(examine(settings.load()))
    for found in findings:
        typer.echo(f"{found.grade.value:<8} {found.name:<14} {found.text}")
        if found.remedy:
            typer.echo(f"{'':<8} {'':<14} -> {found.remedy}")
    if any(found.grade is Grade.MISSING for found in findings):
        raise typer.Exit(1)


def examine(loaded: Settings) -> Iterable[Finding]:
    """Make every check."""
    yield python(sys.version_info[:2])
    yield machine(platform.system(), platform.machine())
    yield glibc(*platform.libc_ver())
    yield kernel()
    yield from binaries()
    yield state_folder(loaded.state_dir)
    yield another_stack(loaded.state_dir)
    yield from ports(loaded)


def python(version: tuple[int, ...]) -> Finding:
    """Check the interpreter."""
    text = ".".join(map(str, version))
    if version >= LEAST_PYTHON:
        return Finding("Python", Grade.OK, text)
    return Finding("Python", Grade.MISSING, f"{text}, 3.11 or newer is needed", "make PYTHON=python3.11 demo")


def machine(system: str, processor: str) -> Finding:
    """Check operating system and processor: the wheels of Envoy and Temporal exist for these."""
    text = f"{system} {processor}"
    if system == "Linux" and processor in MACHINES:
        return Finding("machine", Grade.OK, text)
    needed = f"Linux on {' or '.join(MACHINES)}"
    return Finding(
        "machine", Grade.MISSING, f"{text}, {needed} is needed", "use a Linux machine or a virtual one"
    )


def glibc(name: str, version: str) -> Finding:
    """Check the C library, for which the binaries are built."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if name == "glibc" and numbers >= LEAST_GLIBC:
        return Finding("glibc", Grade.OK, version)
    return Finding(
        "glibc",
        Grade.MISSING,
        f"{name or 'another C library'} {version}".strip() + ", glibc 2.31 or newer is needed",
        "use Debian 11, Ubuntu 20.04, RHEL 9 or newer; Alpine (musl) does not run Envoy's binary",
    )


def kernel() -> Finding:
    """Check what supervision and leases stand on."""
    lacking = [name for name, works in KERNEL_FEATURES.items() if not _works(works)]
    if not lacking:
        return Finding("kernel", Grade.OK, f"{platform.release()}: {', '.join(KERNEL_FEATURES)}")
    return Finding(
        "kernel", Grade.MISSING, f"{platform.release()} lacks {', '.join(lacking)}", "use Linux 5.3 or newer"
    )


def binaries() -> Iterable[Finding]:
    """Check that Temporal and Envoy are installed and run."""
    from controller.embedded.programs import temporal_binary
    from controller.routing.envoy.bootstrap import envoy_binary

    for name, find in (("temporal", temporal_binary), ("envoy", envoy_binary)):
        yield binary(name, find)


def binary(name: str, find: Callable[[], Path]) -> Finding:
    """Check that one program is there and answers `--version`."""
    try:
        path = find()
        ran = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, timeout=BINARY_DEADLINE_S, check=True
        )
    except ConfigurationError as error:
        return Finding(
            name, Grade.MISSING, error.message, "pip install --require-hashes -r requirements.lock"
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(
            name, Grade.MISSING, f"does not run: {error}", "is it built for this processor and C library?"
        )
    return Finding(name, Grade.OK, " ".join(ran.stdout.split())[:100])


def state_folder(path: Path) -> Finding:
    """Check that the state folder can be written and has room."""
    from controller.embedded.folders import private_folder, require_room

    try:
        require_room(private_folder(path.absolute()))
        free = shutil.disk_usage(path).free
    except (ConfigurationError, OSError) as error:
        return Finding("state", Grade.MISSING, str(error), "set SERINUS_STATE_DIR to a folder of your own")
    if not os.access(path, os.W_OK):
        return Finding(
            "state", Grade.MISSING, f"{path} cannot be written", "set SERINUS_STATE_DIR to another folder"
        )
    return Finding("state", Grade.OK, f"{path}, {free // 1024**2} MB free")


def another_stack(state_dir: Path) -> Finding:
    """Say whether a stack runs on this state folder."""
    from controller.embedded.folders import AlreadyRunning, Claim

    try:
        Claim(state_dir.absolute()).release()
    except AlreadyRunning as error:
        return Finding("stack", Grade.NOTE, error.message)
    except OSError as error:
        return Finding("stack", Grade.NOTE, f"not known: {error}")
    return Finding("stack", Grade.OK, "none runs on this state folder")


def ports(loaded: Settings) -> Iterable[Finding]:
    """Say which preferred ports are in use; the stack takes free ones then."""
    from controller.embedded.ports import is_free

    wanted = {
        "API": loaded.api.port,
        "Envoy": loaded.envoy.port,
        "telemetry": loaded.telemetry.port,
        **({"telemetry gRPC": loaded.telemetry.grpc_port} if loaded.telemetry.grpc_port else {}),
        "Temporal": int(loaded.temporal.address.rpartition(":")[2]),
        "Temporal UI": int(loaded.temporal.ui.rpartition(":")[2]),
    }
    busy = [f"{name} {port}" for name, port in wanted.items() if not is_free(port)]
    if busy:
        yield Finding("ports", Grade.NOTE, f"in use: {', '.join(busy)}; free ones will be taken and printed")
    else:
        yield Finding("ports", Grade.OK, ", ".join(f"{name} {port}" for name, port in wanted.items()))


def _works(feature: Callable[[], object]) -> bool:
    try:
        feature()
    except (OSError, AttributeError):
        return False
    return True


def _pidfd() -> None:
    os.close(os.pidfd_open(os.getpid()))


def _death_signal() -> None:
    import ctypes

    if ctypes.CDLL(None).prctl(2, ctypes.byref(ctypes.c_int()), 0, 0, 0) != 0:  # PR_GET_PDEATHSIG
        raise OSError("no PR_SET_PDEATHSIG")


def _unix_sockets() -> None:
    left, right = socket.socketpair(socket.AF_UNIX)
    left.close()
    right.close()


KERNEL_FEATURES: dict[str, Callable[[], object]] = {
    "pidfd": _pidfd,
    "pidfd signals": lambda: signal.pidfd_send_signal,
    "death signal": _death_signal,
    "boot clock": lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    "unix sockets": _unix_sockets,
}
