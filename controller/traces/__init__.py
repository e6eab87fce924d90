"""Where spans are kept and found. Begin at port."""
