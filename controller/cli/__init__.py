"""The serinus command. Heavy imports stay inside the commands. Begin at main."""
