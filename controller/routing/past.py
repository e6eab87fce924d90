"""Pure: what versions served in the last hour, by minute and instance, and what earlier versions left behind.

Before it: a data plane's counters, each second or each half minute. After it: `DataPlane.history`; `shelf` keeps it over restarts. Times
are seconds since 1970, because they must mean something to the router after this one.

Bounded, so that a router can hold a thousand versions for months. A version keeps 60 minutes of two numbers for each
of at most 33 instances and one for each of at most 64 buckets. Measured: 95 kB where everything is in use, 47 kB with
three instances and a common spread of latencies, 19 kB when it is idle. It is forgotten an hour after it left.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from controller.model.look import History
from controller.model.target import TargetKey
from controller.model.wealth import Tally

MINUTES = 60
MINUTE_S = 60.0
APART = 32
"""Instances of a version that are counted apart; all others are one more."""
EARLIER = 5
"""Versions of a target that are remembered after another one became stable."""

Words = Mapping[str, Tally]
"""Counts by instance."""


@dataclass(slots=True)
class Minute:
    """What one version served in about a minute.

    Args:
        began_at: Seconds since 1970.
        covered_s: How much of the time since was counted, seconds; it is complete from 60 on.
        failed: Failed requests of the version. Its instances can have more: a try that was repeated is in theirs.
        counts: Total and failed, one after the other for each instance, in the order of `VersionPast.instances`.
        buckets: Requests by how long they took.
        is_kept: Whether the shelf has it as it is now.
    """

    began_at: float
    covered_s: float = 0.0
    failed: int = 0
    counts: array[int] = field(default_factory=lambda: array("Q"))
    buckets: array[int] = field(default_factory=lambda: array("Q"))
    is_kept: bool = False

    def tallies(self) -> list[Tally]:
        """Return each instance's requests: tries less the repeated ones."""
        total, failed = self.counts[::2], self.counts[1::2]
        repeated = repeats(failed, sum(failed) - self.failed)
        return [Tally(one - less, bad - less) for one, bad, less in zip(total, failed, repeated, strict=True)]


def repeats(failed: Sequence[int], repeated: int) -> list[int]:
    """Say how many of each instance's failed tries were repeated elsewhere.

    Nobody counts that by instance. We only repeat what never reached a service, so the instances that fail most are
    the ones that do not answer: the most failing are lowered to one level until all repeats are found.
    """
    low, high = 0, max(failed, default=0)
    while low < high:
        level = (low + high) // 2
        if sum(max(0, one - level) for one in failed) <= repeated:
            high = level
        else:
            low = level + 1
    taken = [max(0, one - low) for one in failed]
    rest = repeated - sum(taken)
    for place, one in enumerate(failed):
        if rest > 0 and taken[place] < one and one - taken[place] == low:
            taken[place] += 1
            rest -= 1
    return taken


class VersionPast:
    """The last hour of one version."""

    def __init__(self) -> None:
        self.minutes: deque[Minute] = deque(maxlen=MINUTES)
        self.instances: dict[str, int] = {}
        """Column of each instance that is counted apart; the one after the last possible is of all others."""
        self._seconds: deque[tuple[float, int, int]] = deque(maxlen=MINUTES)
        """Length (seconds), total, failed of the newest readings."""

    def add(
        self, at: float, took_s: float, counted: Tally, instances: Words, buckets: Sequence[int] = ()
    ) -> None:
        """Count what was served since the last call.

        Args:
            at: Now, seconds since 1970.
            took_s: Seconds since the last call.
            counted: Requests of the version.
            instances: Tries by instance; one without any may be left out.
            buckets: Requests by how long they took; empty when nobody measured.
        """
        self._seconds.append((took_s, counted.total, counted.failed))
        minute = self._open(at - took_s)
        minute.is_kept = False
        minute.covered_s += took_s
        minute.failed += counted.failed
        for name, tally in instances.items():
            if tally.total:
                place = 2 * self._column(name)
                _grow(minute.counts, place + 2)
                minute.counts[place] += tally.total
                minute.counts[place + 1] += tally.failed
        _add(minute.buckets, buckets)

    def restore(self, instances: Mapping[str, int], minutes: Iterable[Minute]) -> None:
        """Take what was remembered before; called before anything is added.

        Raises:
            ValueError: The columns are not those of at most 32 instances, or a minute has more of them.
        """
        self.instances = dict(instances)
        self.minutes.extend(minutes)
        columns = list(self.instances.values())
        if len(set(columns)) < len(columns) or not set(columns) <= set(range(APART)):
            raise ValueError("expected a column of its own for each instance")
        if any(len(minute.counts) % 2 or len(minute.counts) > 2 * (APART + 1) for minute in self.minutes):
            raise ValueError("expected two numbers for each instance")

    def history(self, window_s: float, now: float, bounds_s: tuple[float, ...] = ()) -> History:
        """Return what was served in the newest `window_s` seconds, or in the shorter time that is known.

        A window of a minute or more is made of whole minutes; a shorter one has only sums.
        """
        if window_s < MINUTE_S:
            return self._sums(window_s)
        minutes = self._within(window_s, now)
        if not minutes:
            return History(window_s=0.0, total=0, failed=0)
        rows = _rows([minute.tallies() for minute in minutes])
        return History(
            window_s=sum(minute.covered_s for minute in minutes),
            total=sum(one.total for row in rows for one in row),
            failed=sum(one.failed for row in rows for one in row),
            minutes=rows,
            bounds_s=bounds_s,
            bucket_minutes=_padded(minutes, len(bounds_s) + 1) if bounds_s else (),
        )

    def by_instance(self) -> tuple[Tally, ...]:
        """Return all that is remembered of each instance, the sum of the others left out."""
        rows = _rows([minute.tallies()[:APART] for minute in self.minutes])
        return tuple(sum(column, Tally()) for column in zip(*rows, strict=True))

    def _open(self, at: float) -> Minute:
        """Return the minute that is not over, or begin one. After a gap the last one is over, however short it is."""
        last = self.minutes[-1] if self.minutes else None
        if last is None or last.covered_s >= MINUTE_S or at - last.began_at >= MINUTE_S:
            last = Minute(at)
            self.minutes.append(last)
        return last

    def _sums(self, window_s: float) -> History:
        known_s, total, failed = 0.0, 0, 0
        for took_s, more, bad in reversed(self._seconds):
            if known_s + took_s > window_s:
                break
            known_s, total, failed = known_s + took_s, total + more, failed + bad
        return History(window_s=known_s, total=total, failed=failed)

    def _within(self, window_s: float, now: float) -> list[Minute]:
        return [minute for minute in self.minutes if minute.began_at >= now - window_s]

    def _column(self, name: str) -> int:
        known = self.instances.get(name)
        if known is not None:
            return known
        if len(self.instances) < APART:
            self.instances[name] = len(self.instances)
            return self.instances[name]
        for idle, column in self.instances.items():
            if not any(any(minute.counts[2 * column : 2 * column + 1]) for minute in self.minutes):
                del self.instances[idle]
                self.instances[name] = column
                return column
        return APART


def _grow(numbers: array[int], size: int) -> None:
    if len(numbers) < size:
        numbers.frombytes(bytes(numbers.itemsize * (size - len(numbers))))


def _padded(minutes: Sequence[Minute], width: int) -> tuple[tuple[int, ...], ...]:
    """Return the buckets of each minute; a minute keeps only as many as were used."""
    return tuple((*minute.buckets, *(0,) * (width - len(minute.buckets)))[:width] for minute in minutes)


def _add(numbers: array[int], more: Sequence[int]) -> None:
    """Add to each place; what is zero at the end takes no room."""
    size = len(more)
    while size and not more[size - 1]:
        size -= 1
    _grow(numbers, size)
    for place in range(size):
        if more[place]:
            numbers[place] += more[place]


def _rows(tallies: Sequence[Sequence[Tally]]) -> tuple[tuple[Tally, ...], ...]:
    """Make all rows equally long and leave out instances that served nothing; no rows when nobody served."""
    width = max((len(row) for row in tallies), default=0)
    full = [(*row, *(Tally() for _ in range(width - len(row)))) for row in tallies]
    used = [column for column in range(width) if any(row[column].total for row in full)]
    return tuple(tuple(row[column] for column in used) for row in full) if used else ()


class Past:
    """What a data plane remembers of all its versions, by the name that the plane gives them."""

    def __init__(self) -> None:
        self.versions: dict[str, VersionPast] = {}
        self.earlier: dict[TargetKey, dict[str, tuple[Tally, ...]]] = {}
        """By target and version, newest first: instances of versions that were stable once."""

    def of(self, name: str) -> VersionPast:
        """Return the past of a version; an empty one is made for a new name."""
        return self.versions.setdefault(name, VersionPast())

    def retire(self, target: TargetKey, version: str, name: str) -> None:
        """Remember a version's instances: another version became stable. Nothing was served, nothing is remembered.

        Only what was stable is remembered. A canary that was rolled back would make every later difference between
        instances look like luck.
        """
        known = self.versions.get(name)
        instances = known.by_instance() if known is not None else ()
        before = self.earlier.pop(target, {})
        before.pop(version, None)
        made = {version: instances, **before} if instances else before
        if made:
            self.earlier[target] = dict(islice(made.items(), EARLIER))

    def earlier_than(self, target: TargetKey, version: str) -> tuple[Tally, ...]:
        """Return the instances of the versions that were stable before this one, newest first."""
        others = self.earlier.get(target, {})
        return tuple(tally for other, tallies in others.items() if other != version for tally in tallies)

    def keep_targets(self, targets: Collection[TargetKey]) -> None:
        """Drop what earlier versions of all other targets left behind."""
        self.earlier = {target: known for target, known in self.earlier.items() if target in targets}

    def forget(self, now: float) -> None:
        """Drop versions that served nothing for an hour because they are gone."""
        since = now - MINUTES * MINUTE_S
        old = [
            name
            for name, past in self.versions.items()
            if not any(minute.began_at >= since for minute in reversed(past.minutes))
        ]
        for name in old:
            del self.versions[name]

    def mark_changed(self) -> None:
        """Let the next save write everything: what the last one wrote was lost."""
        for past in self.versions.values():
            for minute in past.minutes:
                minute.is_kept = False

    def changed(self) -> Iterator[tuple[str, VersionPast, Minute]]:
        """Yield each minute that the shelf does not have as it is now; more may be added meanwhile."""
        for name, past in tuple(self.versions.items()):
            for minute in reversed(past.minutes):
                if minute.is_kept:
                    break
                yield name, past, minute
