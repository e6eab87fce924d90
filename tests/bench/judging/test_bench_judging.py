"""The bench of a judged look: it judges what it says, and nothing fails on the way."""

from __future__ import annotations

from controller.analysis.beginning import begin
from controller.analysis.engine import judge
from controller.model.share import BasisPoints
from controller.model.start import Start
from controller.model.verdict import Decision
from tests.bench.judging.run import KINDS, LOOKS, looks


def test_every_kind_is_judged_to_the_last_look() -> None:
    """Each kind has its streams and instances, and the good ones of them are not failed by chance of the seed."""
    for policy, rungs, instances in KINDS.values():
        evidence = begin(policy, Start(rungs=rungs), BasisPoints(500))
        for look in looks(rungs, instances):
            evidence, verdict = judge(policy, evidence, look)
        assert evidence.looks == LOOKS
        assert len(evidence.streams) == 1 + len(rungs)
        assert len(evidence.without) == instances or verdict.decision is Decision.FAIL
