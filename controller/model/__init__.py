"""Pure values and rules: no IO, no clock, no third-party package.

Read in this order: `share`, `target`, `wealth`, `plan` (and policy), `look`, `verdict`, `lease`, `release`, `machine`,
`evidence`, `recording`, `notice`, `trace`. Everything that two packages exchange is defined here.
"""
