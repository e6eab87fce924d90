"""The judge's loop: read, judge, renew, close, with ports and clock passed in. Begin at loop."""
