"""The HTTP API: thin, strict, problem+json. Begin at app."""
