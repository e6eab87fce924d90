"""PURE statistics: judge(policy, evidence, look) gives the new evidence and a verdict. Begin at engine.

every look    counting, surroundings (darkness, split), rails; saying makes the verdicts
by evidence   odds over streams: wealth and certainty on projection; instances with luck; ceiling
by rules      threshold, limits over intervals, ranks over mann_whitney and rank_sum
frozen        beginning: ladder, luck, dispersion
explained     differing (what failing spans have in common), changing (what a version changed)
foreseen      power (what a plan can see), soundness over crossings and tails (how often a policy is wrong)
"""
