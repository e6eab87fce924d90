"""Where a run lives: `controller.embedded.site` and what children inherit."""

from __future__ import annotations

import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from controller.embedded.ports import Ports, is_free
from controller.embedded.site import Site, choose_site
from controller.settings import Channel, Settings, handed_on, load

CHANNEL = Channel(url="http://127.0.0.1:1/alerts", secret="whsec_c2VjcmV0")  # type: ignore[arg-type]


async def _chosen(settings: Settings, state_dir: Path, undo: AsyncExitStack) -> Site:
    state_dir.mkdir(exist_ok=True)
    return choose_site(settings, state_dir, lambda ports: {"demo": CHANNEL}, undo)


async def test_what_was_asked_for_is_chosen_and_every_child_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Free preferred ports are taken; the settings file holds them with the channel, and is 0600."""
    # The process environment is what children inherit; there is no other way to fill it.
    monkeypatch.setenv("SERINUS_API__PORT", "1")
    port = next(port for port in range(31_600, 31_700) if is_free(port))

    async with AsyncExitStack() as undo:
        site = await _chosen(load({"SERINUS_API__PORT": str(port)}), tmp_path / "state", undo)
        read = load(site.environment)

    assert read == site.settings
    assert read.api.port == port
    assert read.temporal.address == f"127.0.0.1:{site.ports.taken()['temporal']}"
    assert read.notify.channels["demo"].url == CHANNEL.url
    assert read.sockets != tmp_path / "state"
    assert stat.S_IMODE((tmp_path / "state" / "settings.json").stat().st_mode) == 0o600


async def test_a_runtime_folder_of_ones_own_is_used(tmp_path: Path) -> None:
    """Sockets live where the settings say."""
    async with AsyncExitStack() as undo:
        settings = load({"SERINUS_RUNTIME_DIR": str(tmp_path / "run")})

        site = await _chosen(settings, tmp_path / "state", undo)

    assert site.launcher_socket == tmp_path / "run" / "launcher.sock"
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


async def test_a_run_that_ends_leaves_no_folder_of_sockets(tmp_path: Path) -> None:
    """The folder that was made for a run goes with it, with whatever a killed part left there; one's own stays."""
    async with AsyncExitStack() as undo:
        made = (await _chosen(load({}), tmp_path / "state", undo)).settings.sockets
        (made / "envoy.sock").touch()
    async with AsyncExitStack() as undo:
        settings = load({"SERINUS_RUNTIME_DIR": str(tmp_path / "run")})
        own = (await _chosen(settings, tmp_path / "other", undo)).settings.sockets

    assert not made.exists()
    assert own.is_dir()


async def test_children_keep_compiled_modules_where_none_may_lie_beside_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that forbids compiled files beside sources gets them in the user's own folder."""
    # As above: this is about the process environment.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    async with AsyncExitStack() as undo:
        site = await _chosen(load({}), tmp_path / "state", undo)

    assert "PYTHONDONTWRITEBYTECODE" not in site.environment
    assert site.environment["PYTHONPYCACHEPREFIX"].endswith("pycache")


def test_a_child_gets_the_file_and_no_other_setting() -> None:
    """What is in the file cannot be contradicted by a variable."""
    inherited = {"PATH": "/bin", "SERINUS_API__PORT": "1", "SERINUS_SETTINGS": "old"}

    assert handed_on(Path("/new"), inherited) == {"PATH": "/bin", "SERINUS_SETTINGS": "/new"}


def test_ports_are_given_back(tmp_path: Path) -> None:
    """After the end of a run another may have its ports."""
    (tmp_path / "locks").mkdir()
    one = Ports(memory=tmp_path / "one.json", locks=tmp_path / "locks", free=range(31_700, 31_720))
    port = one.take("api")
    one.close()

    two = Ports(memory=tmp_path / "two.json", locks=tmp_path / "locks", free=range(31_700, 31_720))

    assert two.take("api") == port
    two.close()
