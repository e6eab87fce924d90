"""The three signals of OTLP, by the names that its paths have.

Before it: the receivers of `controller.ingest`. After it: a trace store, which keeps each signal apart.
"""

from __future__ import annotations

from enum import StrEnum


class Signal(StrEnum):
    """What a body of OTLP holds."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


CLIPPED = "serinus.clipped"
"""Attribute on whatever the receiver had to cut: the names of the parts, sorted, with commas between."""
