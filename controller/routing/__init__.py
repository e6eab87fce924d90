"""Who may send traffic to a canary, and how a share becomes traffic. Begin at port, then keeper, then envoy."""
