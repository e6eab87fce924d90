"""Serinus: observe, judge, route. Read it in the order in which a request and its consequence travel.

model      the words: share, target, plan, look, verdict, lease, release, machine
routing    keeper (who may have a share), envoy (how a share becomes traffic), server and remote (one socket)
metrics    counters of both arms
analysis   judge(policy, evidence, look): the decision, pure
judging    the loop around it: look, judge, renew, close
workloads  start, watch, retire a version
store      ledger, journal, commands, outbox
notify     alerts to people
traces     spans: found, mapped, compared; ingest feeds it
runner     runs a release step by step (Temporal: the package `workflows`)
simulation whole releases on a virtual clock; recorded looks judged again
releases   the use cases; api and cli call them
embedded   the whole stack on one laptop
bootstrap  wires all of it from settings; registry names the adapters
"""
