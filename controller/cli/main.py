"""The `serinus` command: guards the installation, gathers the commands, turns errors into one line and an exit code.

Each command module has `register(app)`, which adds its commands; a new module is one more line in `MODULES`. Only
typer is imported here; what a command needs, it imports when it runs, so that `serinus --help` and the router start
at once.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import typer
from typer.exceptions import TyperException

from controller.errors import ConfigurationError, SerinusError

MODULES = (
    "controller.cli.release",
    "controller.cli.target",
    "controller.cli.status",
    "controller.cli.stack",
    "controller.cli.demo",
    "controller.cli.doctor",
    "controller.cli.explain",
    "controller.cli.traces",
    "controller.cli.simulate",
    "controller.cli.replay",
    "controller.cli.policy",
    "controller.cli.processes",
    "controller.cli.router",
)
PACKAGES = ("controller", "workflows", "services")

EXIT_ERROR = 1
EXIT_USAGE = 64
EXIT_CONFIGURATION = 78
"""sysexits.h EX_CONFIG: settings or the installation are wrong."""
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit; the console script of the distribution."""
    try:
        check_installation()
        code = run(sys.argv[1:])
    except ConfigurationError as error:
        code = _complain(error, EXIT_CONFIGURATION)
    sys.exit(code)


def build() -> typer.Typer:
    """Return the whole command line."""
    app = typer.Typer(
        name="serinus",
        help="Canary releases with evidence: leased traffic shares, verdicts on raw counts, rollback by itself.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for module in MODULES:
        importlib.import_module(module).register(app)
    return app


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every `SerinusError` becomes one line on stderr."""
    try:
        code = typer.main.get_command(build()).main(arguments, prog_name="serinus", standalone_mode=False)
    except TyperException as error:
        text = error.format_message() if hasattr(error, "format_message") else str(error)
        typer.echo(f"serinus: {text}", err=True)
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except ConfigurationError as error:
        return _complain(error, EXIT_CONFIGURATION)
    except SerinusError as error:
        return _complain(error, EXIT_ERROR)
    return code if isinstance(code, int) else 0


def check_installation() -> None:
    """Check that our packages come from one installation.

    `workflows` and `services` are common names: another distribution in the same environment would shadow ours, and
    the worker would run a stranger's code.

    Raises:
        ConfigurationError: They lie in different folders, or one is missing.
    """
    homes = {name: _home(name) for name in PACKAGES}
    if None in homes.values() or len(set(homes.values())) != 1:
        found = ", ".join(f"{name}: {home or 'not found'}" for name, home in homes.items())
        raise ConfigurationError(
            f"controller, workflows and services must come from one installation, found {found}; "
            "install Serinus into an environment of its own"
        )


def _home(package: str) -> Path | None:
    found = importlib.util.find_spec(package)
    places = list(found.submodule_search_locations or ()) if found else []
    return Path(places[0]).resolve().parent if places else None


def _complain(error: SerinusError, code: int) -> int:
    where = f"{error.field}: " if error.field else ""
    typer.echo(f"serinus: {where}{error.message}", err=True)
    return code
