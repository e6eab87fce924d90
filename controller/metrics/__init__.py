"""Where evidence comes from: cumulative counters of both arms, never a verdict. Begin at port."""
