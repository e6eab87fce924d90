"""PURE statistics: judge(policy, evidence, look) gives the new evidence and a verdict. Begin at engine."""
