"""What is different about some spans: the attribute values that tell selected spans from others. Pure.

Before it: `Share`, counts of a trace store. After it: the explorer's differences, and why a release was rolled back.

Two questions are kept apart. *Is it there?* Fisher's exact test, one-sided (R. A. Fisher, "Statistical Methods for
Research Workers", section 21.02: the hypergeometric tail), because shares are small and often 0, where normal
approximations claim too much. Many values are tested at once, and the store returns only those that differ most, so a
claim must hold at `WRONGLY` over `FAMILY` values (Bonferroni): two samples of the same spans then bring a claim in one
answer of a hundred at most. *How telling is it?* The lower 95 % bound of the difference of both shares (R. G. Newcombe,
"Interval estimation for the difference between independent proportions", Statistics in Medicine 17 (1998), method 10):
a value on 31 of 33 failing spans and 12 of 400 others comes before one on 400 of 1 000 and 380 of 1 000.

Spans of one request fail together, so ask for one kind of span (`kind=server`), else each request counts several times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, sqrt

from controller.model.insight import Share

WRONGLY = 0.01
"""How often an answer about equal sides may claim anything."""
FAMILY = 10_000
"""Values that are tested at most: more than 200 keys with 50 values each."""
LEAST_DIFFERENCE = 0.05
"""Nobody acts on less, however sure it is."""
CONFIDENT_Z = 1.96
SYMPTOMS = (
    "error.",
    "exception.",
    "http.response.status_code",
    "http.status_code",
    "otel.status",
    "rpc.grpc.status_code",
    "rpc.response.status_code",
)
"""Beginnings of keys that say that a span failed and not why: they come after the others."""
IDENTITY = (
    "service.version",
    "service.instance.",
    "release.",
    "process.",
    "host.",
    "container.",
    "k8s.",
    "server.",
    "network.",
)
"""Beginnings of keys that differ between two versions because they are two."""
LEAST_GOOD = 20
"""Good spans of the canary from which on it can be seen what its failures do not share with them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that tells selected spans from others.

    Args:
        least: The shares differ at least by this much, 0 to 1 (95 % confident).
        chance: The chance of such counts if both sides were equal, for this value alone.
        is_symptom: It says how spans failed, not why.
    """

    share: Share
    least: float
    chance: float
    is_symptom: bool


def differences(
    shares: Sequence[Share], *, most: int = 10, symptoms: Sequence[str] = SYMPTOMS
) -> tuple[Difference, ...]:
    """Return what is surely more frequent among the selected spans, the most telling first; nothing for equal sides."""
    found = [
        Difference(share, least, chance, share.key.startswith(tuple(symptoms)))
        for share in shares
        if _differs(share)
        and (chance := by_chance(share)) * FAMILY <= WRONGLY
        and (least := at_least(share)) > 0
    ]
    found.sort(key=lambda one: (one.is_symptom, -one.least, one.share.key, one.share.value))
    return tuple(found[:most])


def of_failures(others: Sequence[Share], own: Sequence[Share], *, most: int = 5) -> tuple[Difference, ...]:
    """Return what tells the failing spans of a canary from stable's spans, and not merely one version from the other.

    A value that the canary's good spans have as often belongs to the version and explains nothing.

    Args:
        others: Failing spans of the canary against spans of stable.
        own: The same failing spans against the canary's good ones. With few good ones (`LEAST_GOOD`) the comparison with
            stable counts alone, without what merely names a version or an instance.
        most: How many to return.
    """
    found = differences(others, most=len(others))
    if max((share.others for share in own), default=0) < LEAST_GOOD:
        return tuple(one for one in found if not one.share.key.startswith(IDENTITY))[:most]
    confirmed = {_value(one.share) for one in differences(own, most=len(own))}
    return tuple(one for one in found if _value(one.share) in confirmed)[:most]


def sentence(share: Share, *, selected: str = "failing", others: str = "others") -> str:
    """Say the counts: `payment.method=invoice: 31 of 33 failing, 12 of 400 others`."""
    scope = "resource." if share.scope == "resource" else ""
    return (
        f"{scope}{share.key}={share.value}: {share.inside} of {share.selected} {selected}, "
        f"{share.outside} of {share.others} {others}"
    )


def by_chance(share: Share) -> float:
    """Return the chance that equal sides give the selected spans this many or more (Fisher's exact test).

    Nobody to compare with: 1.
    """
    inside, selected, outside, others = share.inside, share.selected, share.outside, share.others
    if not selected or not others:
        return 1.0
    having, everybody = inside + outside, selected + others
    last = min(having, selected)
    term = exp(
        _chosen(having, inside)
        + _chosen(everybody - having, selected - inside)
        - _chosen(everybody, selected)
    )
    total = term
    for more in range(inside, last):
        # The next table of the tail from the one before it; terms only shrink above the mean, so a tiny one is the end.
        term *= (having - more) * (selected - more)
        term /= (more + 1) * (everybody - having - selected + more + 1)
        total += term
        if term <= total * 1e-12:
            break
    return min(total, 1.0)


def at_least(share: Share) -> float:
    """Return the lower bound of the difference of the shares, -1 to 1 (Newcombe's method 10 from Wilson's intervals)."""
    if not share.selected or not share.others:
        return -1.0
    first, second = share.inside / share.selected, share.outside / share.others
    low, _ = _wilson(share.inside, share.selected)
    _, high = _wilson(share.outside, share.others)
    return first - second - sqrt((first - low) ** 2 + (high - second) ** 2)


def _value(share: Share) -> tuple[str, str, str]:
    return share.scope, share.key, share.value


def _differs(share: Share) -> bool:
    if not share.selected or not share.others:
        return False
    return share.inside / share.selected - share.outside / share.others >= LEAST_DIFFERENCE


def _wilson(hits: int, total: int) -> tuple[float, float]:
    z2 = CONFIDENT_Z**2
    rate = hits / total
    middle = rate + z2 / (2 * total)
    reach = CONFIDENT_Z * sqrt(rate * (1 - rate) / total + z2 / (4 * total**2))
    return (middle - reach) / (1 + z2 / total), (middle + reach) / (1 + z2 / total)


def _chosen(of: int, some: int) -> float:
    """Return the logarithm of the binomial coefficient."""
    if not 0 <= some <= of:
        return -log(2) * 10_000
    return lgamma(of + 1) - lgamma(some + 1) - lgamma(of - some + 1)
