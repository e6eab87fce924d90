"""What a version shows when it is bad: errors, slowness, a crash, never getting ready.

Before it: the table of versions in a service, or options of a start order. After it: the request handlers, which ask
`Injector.strike` before they answer. Seeded, so that a bad version is bad in the same way each time.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

CRASH_CODE = 86
"""Exit code of a process that crashed on purpose."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How a version misbehaves; the default is a good version.

    Args:
        error_rate: Part of the requests that are answered with 500, from 0 to 1.
        latency_ms: Added to every request, milliseconds.
        crash_after_n: The process dies in the middle of this request, counted from 1; None never.
        not_ready: `/ready` answers 503 for ever.
        seed: Of the draw of failing requests.
    """

    error_rate: float = 0.0
    latency_ms: float = 0.0
    crash_after_n: int | None = None
    not_ready: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.error_rate <= 1:
            raise ValueError("error_rate: expected 0 to 1")
        if not 0 <= self.latency_ms <= 60_000:
            raise ValueError("latency_ms: expected 0 to 60000")
        if self.crash_after_n is not None and self.crash_after_n < 1:
            raise ValueError("crash_after_n: expected at least 1")

    @classmethod
    def of(cls, mapping: Mapping[str, object]) -> Faults:
        """Build from loose values.

        Raises:
            ValueError: A name is not known, or a value has the wrong type or range; names it.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(mapping.keys() - known):
            raise ValueError(f"unknown faults: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        return cls(
            error_rate=_number(mapping, "error_rate", 0.0),
            latency_ms=_number(mapping, "latency_ms", 0.0),
            crash_after_n=_whole(mapping, "crash_after_n", None),
            not_ready=_flag(mapping, "not_ready"),
            seed=_whole(mapping, "seed", 1) or 0,
        )


def _number(mapping: Mapping[str, object], name: str, default: float) -> float:
    value = mapping.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: expected a number")
    return float(value)


def _whole(mapping: Mapping[str, object], name: str, default: int | None) -> int | None:
    value = mapping.get(name, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError(f"{name}: expected a whole number")
    return value


def _flag(mapping: Mapping[str, object], name: str) -> bool:
    value = mapping.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false")
    return value


def _die() -> None:
    os._exit(CRASH_CODE)


class Injector:
    """Lets the faults of one process happen; counts its requests.

    Args:
        faults: What is to happen.
        crash: Called when the process is to die.
    """

    def __init__(self, faults: Faults, *, crash: Callable[[], None] = _die) -> None:
        self._faults = faults
        self._crash = crash
        self._draw = random.Random(faults.seed)  # noqa: S311 - a repeatable draw is the point
        self._seen = 0

    @property
    def is_ready(self) -> bool:
        """Whether the version says that it can serve."""
        return not self._faults.not_ready

    async def strike(self) -> bool:
        """Wait, crash or say that this request must fail. Waits at most `latency_ms`."""
        self._seen += 1
        if self._seen == self._faults.crash_after_n:
            self._crash()
        if self._faults.latency_ms:
            await asyncio.sleep(self._faults.latency_ms / 1000)
        return self._draw.random() < self._faults.error_rate
