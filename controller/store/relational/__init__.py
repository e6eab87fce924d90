"""The relational ledger in parts: `tables` (what stands there), `rows` (values in and out), `opening` (connections and
migrations), `reading` and `writing` (what one transaction does). `controller.store.sql` puts them together.
"""
