"""The catalog: what the shop sells. The target that the demo releases."""
