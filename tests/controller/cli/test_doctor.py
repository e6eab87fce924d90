"""`serinus doctor` names what is missing and what to do: `controller.cli.doctor`."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from controller.cli import doctor
from controller.cli.doctor import Finding, Grade
from controller.embedded.folders import Claim
from controller.errors import ConfigurationError
from controller.settings import Settings, load


def _has_a_remedy(found: Finding) -> bool:
    return found.grade is Grade.MISSING and bool(found.remedy)


@pytest.mark.parametrize(
    "found",
    [
        doctor.python((3, 10)),
        doctor.machine("Darwin", "arm64"),
        doctor.machine("Linux", "riscv64"),
        doctor.glibc("glibc", "2.28"),
        doctor.glibc("", ""),
    ],
    ids=["old Python", "macOS", "RISC-V", "old glibc", "musl"],
)
def test_what_cannot_work_is_missing_with_a_remedy(found: Finding) -> None:
    """An unfit machine is told so, and what to do."""
    assert _has_a_remedy(found)


@pytest.mark.parametrize(
    "found",
    [
        doctor.python((3, 11)),
        doctor.machine("Linux", "x86_64"),
        doctor.machine("Linux", "aarch64"),
        doctor.glibc("glibc", "2.31"),
        doctor.kernel(),
    ],
)
def test_what_works_is_ok(found: Finding) -> None:
    """The least that is promised passes, and so does the machine that runs this test."""
    assert (found.grade, found.remedy) == (Grade.OK, "")


def test_a_program_that_is_not_installed_is_missing() -> None:
    """The remedy is the installation."""

    def find() -> Path:
        raise ConfigurationError("the program temporal is not installed")

    assert _has_a_remedy(doctor.binary("temporal", find))


@pytest.mark.process
def test_a_program_that_does_not_run_is_missing(tmp_path: Path) -> None:
    """A file that is no program for this machine is found by running it."""
    broken = tmp_path / "envoy"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o700)

    assert _has_a_remedy(doctor.binary("envoy", lambda: broken))


def test_a_state_folder_that_is_a_file_is_missing(tmp_path: Path) -> None:
    """The remedy names the setting."""
    (tmp_path / "state").write_text("")

    found = doctor.state_folder(tmp_path / "state")

    assert _has_a_remedy(found)
    assert "SERINUS_STATE_DIR" in found.remedy


def test_a_running_stack_is_noted_with_its_pid(tmp_path: Path) -> None:
    """It is no fault that one runs."""
    claim = Claim(tmp_path)

    found = doctor.another_stack(tmp_path)

    assert found.grade is Grade.NOTE
    assert "pid" in found.text
    claim.release()


def test_ports_in_use_are_noted() -> None:
    """The stack takes free ones, so that this is a note."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        settings: Settings = load({"SERINUS_API__PORT": str(port)})

        [found] = doctor.ports(settings)

    assert found.grade is Grade.NOTE
    assert f"API {port}" in found.text
