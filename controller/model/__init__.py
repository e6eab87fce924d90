"""Pure values and rules: no IO, no clock, no third-party package.

Read in this order: `share`, `traffic`, `target`, `wealth`, `metric`, `plan` (and policy), `look`, `verdict`, `lease`,
`release`, `machine`, `start`, `evidence`, `recording`, `details`, `notice`, `trace`. Everything that two packages exchange is defined here.
"""
