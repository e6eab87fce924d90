"""From looks to measurements: even stretches of judged time, for the judges that do not look at every request.

Before it: `counting` says what is new in a look. After it: `limits` and `ranks` measure what an interval has seen. An
interval ends at the first look at or after its length and never reaches over two steps, so that no measurement mixes two
shares.
"""

from __future__ import annotations

from dataclasses import replace

from controller.analysis.counting import total_of
from controller.model.evidence import Block, Series


def add(series: Series, block: Block, interval_s: float) -> tuple[Series, Block | None]:
    """Add what is new in a look; returns also the interval that it completes, None while one runs.

    Args:
        series: Before.
        block: What is new, after the warm-up.
        interval_s: Its length, seconds of judged time.
    """
    grown = block if series.open is None else total_of((series.open, block))
    if grown.until_s - grown.from_s < interval_s:
        return replace(series, open=grown), None
    return replace(series, open=None), grown


def again(series: Series, full: Block) -> Series:
    """Return the series after an interval that could not be measured: its counts are the next one's, its time is over."""
    return replace(series, open=replace(full, from_s=full.until_s))


def begin_step(series: Series) -> Series:
    """Return the series with which the next step begins: failures and points are the release's, the rest is not."""
    return replace(series, open=None, last=None, newest=None, inconclusive=0, errors=0)
