"""OTLP comes in here, is checked, and goes into the trace store. Begin at intake."""
