"""The one decorator of the bench's compiled loops, and the digest of all sources that they come from.

Machine code is kept on disk, in a folder named by that digest: the compiler itself would not see that a constant of
`controller.analysis` or a loop in another file has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba

ROOT = Path(__file__).parents[3]
SOURCES = (
    "tests/bench/analysis",
    "controller/analysis/projection.py",
    "controller/analysis/wealth.py",
    "controller/analysis/certainty.py",
    "controller/model/wealth.py",
    "controller/plans/ready.py",
)
PRINTING = {"page.py", "summary.py", "promises.py"}
"""What is done with outcomes changes none of them."""
Loop = TypeVar("Loop", bound=Callable[..., object])


def digest() -> str:
    """Return a digest of every source file that compiled code or an outcome depends on."""
    found = hashlib.sha256()
    for source in SOURCES:
        path = ROOT / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            if file.name not in PRINTING and not file.name.startswith("test_"):
                found.update(file.read_bytes())
    return found.hexdigest()[:16]


vars(numba.config)["CACHE_DIR"] = str(Path(__file__).parent / "__pycache__" / digest())


def compiled(loop: Loop) -> Loop:
    """Return the loop as machine code; it holds no lock of the interpreter while it runs."""
    return cast(Loop, numba.njit(cache=True, nogil=True)(loop))
