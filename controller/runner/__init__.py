"""Who runs a release from step to step. Begin at port; Temporal's adapter is workflows.client."""
