"""How the OpenTelemetry instrumentations of this process speak: stable HTTP names, spans only.

Before it: nothing; importing it is what counts. After it: `services.telemetry` and `services.calls`, which instrument
with `NO_METRICS`.
"""

from __future__ import annotations

import os

from opentelemetry.metrics import NoOpMeterProvider

# Read once a process, when the first app or client is instrumented; without it spans have the names of before 2023.
os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"

NO_METRICS = NoOpMeterProvider()
"""For instrumentations: `services.edge` measures, with exemplars; a second measurement costs CPU and has no reader."""
