"""The wire between the router and everybody else: `router.proto`, what is generated from it, and the codec."""
