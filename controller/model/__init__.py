"""Pure values and rules: no IO, no clock, no third-party package.

Read in this order: `share`, `target`, `plan`, `policy`, `look`, `verdict`, `lease`, `release`, `machine`, `notice`,
`trace`. Everything that two packages exchange is defined here.
"""
