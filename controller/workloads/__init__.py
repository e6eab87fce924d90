"""Who starts, watches and stops the versions of a target. Begin at port."""
