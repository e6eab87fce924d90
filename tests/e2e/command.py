"""Runs the `serinus` command from a checkout, installed or not: `python -m tests.e2e.command up`."""

from __future__ import annotations

from controller.cli.main import main

main()
