"""The sample shop and everything a service needs to be observed. Imports nothing of ours.

Read `telemetry` first (what makes a service observable), then `correlation`, `edge` and `calls` (how ids go in, through
and out), `instance` and `faults` (what one version is and shows), `storefront` and `catalog` (what users call), `serve`
and `launcher` (how versions become processes), and `load` with `tally` (the users).
"""
