"""Jaeger's query API over our trace store, for tools that speak it: Grafana's Jaeger source, Jaeger's UI.

`routes` takes the requests, `asking` reads their parameters, `v1` and `v3` write the answers of both generations.
"""
