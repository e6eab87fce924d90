"""Durable execution, thin: Temporal runs what controller.model.machine decides.

Read `client` first (how a release is started and told), then `release` (the loop) with `story` and `edges` (what it
remembers and writes down, pure) and `calls` (queues, limits, retries). `activities` touch the world, standing on `ground`
with `readiness`, `draining`, `journal` and `pulse`; `deliver` and `deliveries` send alerts. `messages` is what travels,
`failures` how errors do, `attempts` where they leave. `worker` is the process around it all, `runtime` Temporal's engine, `meters` its numbers.
"""
