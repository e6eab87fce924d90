"""How long a crashed part waits: `controller.embedded.backoff`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.embedded.backoff import Backoff


def test_quick_deaths_wait_twice_as_long_each_time_up_to_five_seconds() -> None:
    """A part that dies at once is started after 0.2, 0.4, 0.8 ... and never more than 5 s."""
    backoff = Backoff()
    waits = []

    for _ in range(7):
        wait_s, backoff = backoff.after(0.1)
        waits.append(wait_s)

    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_ten_seconds_of_life_are_forgiven() -> None:
    """A part that ran for ten seconds starts again at once, however often it died before."""
    backoff = Backoff(deaths=9)

    wait_s, backoff = backoff.after(10.0)

    assert (wait_s, backoff.deaths) == (0.2, 1)


@given(st.lists(st.floats(min_value=0, max_value=9.9), max_size=200))
def test_waits_never_fall_while_deaths_are_quick_and_never_pass_the_longest(uptimes: list[float]) -> None:
    """Whatever the uptimes below ten seconds, the wait grows up to its limit and stays there."""
    backoff = Backoff()
    waits = []

    for uptime_s in uptimes:
        wait_s, backoff = backoff.after(uptime_s)
        waits.append(wait_s)

    assert waits == sorted(waits)
    assert all(0.2 <= wait_s <= 5.0 for wait_s in waits)
