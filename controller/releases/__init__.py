"""Use cases: everything that people can do with releases and targets. Called by the API."""
