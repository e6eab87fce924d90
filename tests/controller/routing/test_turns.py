"""Whose counts are read when: everybody in turn, those who are looked at every time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.model.target import Target, TargetKey
from controller.routing.envoy import admin
from controller.routing.envoy.turns import ALL_WITHIN, AT_LEAST, LOOKED_AT_FOR_S, Turns


def targets(number: int) -> list[Target]:
    """Return that many targets."""
    return [Target(f"s{one}", "v1", {"v1": ("127.0.0.1:7001",)}) for one in range(number)]


def test_a_small_fleet_is_read_every_time() -> None:
    """Up to a hundred targets nobody has to wait for a turn."""
    turns = Turns()
    turns.declare(targets(AT_LEAST), 0.0)

    rounds = [set(turns.others(())) for _ in range(3)]

    assert rounds == [{one.key for one in targets(AT_LEAST)}] * 3


MANY = targets(4_000)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 4_000), st.integers(0, 400))
def test_everybody_has_a_turn_within_half_a_minute(number: int, looked_at: int) -> None:
    """However many targets there are and however many of them are looked at, 30 rounds and one reach all others."""
    turns, keys = Turns(), [one.key for one in MANY[:number]]
    turns.declare(MANY[:number], 0.0)
    seen = set(keys[:looked_at])
    most = 0
    for _ in range(ALL_WITHIN + 1):
        others = turns.others(keys[:looked_at])
        assert not set(others) & set(keys[:looked_at])
        most = max(most, len(others))
        seen.update(others)

    assert seen == set(keys)
    assert most <= max(AT_LEAST, number / ALL_WITHIN + 1)


def test_who_is_asked_for_is_looked_at_for_a_while() -> None:
    """Ten seconds after the last question it is one of many again; a share lasts as long as it lasts."""
    turns, (one, two, three) = Turns(), targets(3)
    turns.declare([one, two, three], 0.0)
    turns.look(one.key, 1.0)
    turns.look(TargetKey("local.nobody"), 1.0)

    seen = [turns.looked_at(at_s, [two.key]) for at_s in (1.0, 1.0 + LOOKED_AT_FOR_S, 1.1 + LOOKED_AT_FOR_S)]

    assert seen == [(two.key, one.key), (two.key, one.key), (two.key,)]


def test_who_changed_or_is_gone_is_looked_at() -> None:
    """Hosts that come back count from zero, so that they were away must have been seen; what is new has nothing to miss."""
    turns, (one, two, three) = Turns(), targets(3)
    turns.declare([one, two], 0.0)
    turns.declare([one.at("v1", ("127.0.0.1:7002",)), three], 1.0)

    assert turns.looked_at(2.0, ()) == (one.key, two.key)
    assert turns.looked_at(12.0, ()) == ()


@settings(deadline=None)
@given(st.lists(st.text("abc-", min_size=1, max_size=127), unique=True, max_size=600))
def test_a_question_names_everybody_once_and_stays_short(names: list[str]) -> None:
    """Envoy refuses a request line and headers of more than 60 KiB."""
    keys = [TargetKey(f"local.{name}") for name in names]

    asked = list(admin.questions(keys))

    assert [key for question in asked for key in question] == keys
    for question in asked:
        assert [key for page in admin.pages(question) for key in page] == list(question)
        assert all(len(path) < 60_000 for path in (admin.hosts_of(question), *admin.statistics_of(question)))
