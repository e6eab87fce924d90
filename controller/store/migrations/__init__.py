"""The ledger's schema, change by change. `controller.store.relational.opening` runs what is missing at each start.

A new change is a new file in `versions` that names the one before it; files that shipped are never edited.
"""
