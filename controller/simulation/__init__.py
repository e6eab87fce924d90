"""The real machine and the real engine under a virtual clock (world, study), and recorded looks judged again (replay)."""
