"""The laptop stack as supervised child processes. Begin at stack."""
