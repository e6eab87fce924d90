"""The ledger: targets, releases, journal, commands, outbox. Begin at port."""
