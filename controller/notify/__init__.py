"""Channels to people. Begin at port."""
