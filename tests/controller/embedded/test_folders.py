"""Folders, lock and token of one run: `controller.embedded.folders`."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from controller.embedded import folders
from controller.errors import ConfigurationError


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    """A folder is made 0700, and one that stood open is closed."""
    open_one = tmp_path / "open"
    open_one.mkdir(mode=0o755)

    made, closed = folders.private_folder(tmp_path / "a" / "b"), folders.private_folder(open_one)

    assert (_mode(made), _mode(closed)) == (0o700, 0o700)


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_folder_of_ours_is_refused(tmp_path: Path, kind: str) -> None:
    """A link or a file in the place of a folder is an error, not a way elsewhere."""
    place = tmp_path / "place"
    if kind == "link":
        place.symlink_to(tmp_path)
    else:
        place.write_text("")

    with pytest.raises(ConfigurationError, match="folder"):
        folders.private_folder(place)


def test_a_second_run_on_one_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    """The refusal is one line that names the pid of the running stack."""
    claim = folders.Claim(tmp_path)

    with pytest.raises(folders.AlreadyRunning, match=rf"pid {os.getpid()}\)") as refused:
        folders.Claim(tmp_path)

    assert "\n" not in refused.value.message
    claim.release()


def test_a_released_folder_can_be_claimed_again(tmp_path: Path) -> None:
    """The lock goes with the run; the file that stays behind means nothing."""
    folders.Claim(tmp_path).release()

    again = folders.Claim(tmp_path)

    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    again.release()


def test_the_token_is_made_once_and_kept_private(tmp_path: Path) -> None:
    """Every run of a folder has the same token, in a file for its owner alone."""
    first, second = folders.token(tmp_path / "token"), folders.token(tmp_path / "token")

    assert first == second
    assert len(first) >= 40
    assert _mode(tmp_path / "token") == 0o600


def test_a_token_file_that_was_never_filled_is_replaced(tmp_path: Path) -> None:
    """A run that died between making and writing the file does not leave an empty token."""
    (tmp_path / "token").touch(0o600)

    assert len(folders.token(tmp_path / "token")) >= 40


def test_sockets_live_under_a_short_path_that_belongs_to_the_state_folder(tmp_path: Path) -> None:
    """However deep the state folder lies, the sockets' paths fit, and two state folders never share them."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    common = folders.common_folder()

    one, two = folders.runtime_folder(common, deep), folders.runtime_folder(common, tmp_path)

    assert len(os.fsencode(one / "launcher.sock")) < 108
    assert one != two
    assert one == folders.runtime_folder(common, deep)
    for made in (one, two):
        made.rmdir()


def test_a_runtime_folder_that_is_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigurationError, match="SERINUS_RUNTIME_DIR"):
        folders.checked_runtime_folder(tmp_path / ("x" * 90))


def test_a_disk_without_room_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says how much is free, how much is needed, and the setting that moves the folder."""
    # A disk cannot be filled in a test; what is needed can be raised.
    monkeypatch.setattr(folders, "LEAST_FREE_BYTES", 2**62)

    with pytest.raises(ConfigurationError, match=r"MB are free, \d+ MB are needed.*\n?.*SERINUS_STATE_DIR"):
        folders.require_room(tmp_path)
