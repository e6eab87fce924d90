"""Plans and policies by name or from a file, as the command line takes them: YAML or JSON, by the file's ending.

Before it: an option such as `--policy strict.yaml`. After it: `controller.plans.schema`, or the API, which checks the
same document with the same shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from controller.errors import InvalidInput
from controller.model.plan import Plan, Policy
from controller.plans import ready
from controller.plans.schema import PlanShape, PolicyShape, read_plan, read_policy
from controller.plans.text import parse
from controller.plans.validation import Strict
from controller.plans.yaml import parse_yaml

MOST_BYTES = 64 * 1024
READERS: dict[str, Callable[[bytes], Any]] = {".json": parse, ".yaml": parse_yaml, ".yml": parse_yaml}
SHAPES: dict[str, type[Strict]] = {"plan": PlanShape, "policy": PolicyShape}
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Value = TypeVar("Value", Plan, Policy)


def is_file(choice: str) -> bool:
    """Whether a choice names a file (by its ending) and not a ready-made plan or policy."""
    return Path(choice).suffix in READERS


def document(path: str, *, field: str) -> Any:
    """Return what a .json, .yaml or .yml file holds.

    Args:
        path: Where it is.
        field: The option that named it, for the error.

    Raises:
        InvalidInput: It cannot be read, is too large, or is not what its ending says.
    """
    try:
        with Path(path).open("rb") as file:
            body = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"the file cannot be read: {error.strerror}", field=field) from error
    if len(body) > MOST_BYTES:
        raise InvalidInput(f"expected a file of at most {MOST_BYTES} bytes", field=field)
    return READERS[Path(path).suffix](body)


def plan(choice: str) -> Plan:
    """Return the plan that a name or a file stands for.

    Raises:
        InvalidInput: There is no such name, or the file is wrong; the message says where.
    """
    return _chosen(choice, "plan", ready.plan, read_plan)


def policy(choice: str) -> Policy:
    """Return the policy that a name or a file stands for.

    Raises:
        InvalidInput: As `plan`.
    """
    return _chosen(choice, "policy", ready.policy, read_policy)


def json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON schema of a `plan` or `policy` file, for editors and pipelines."""
    return {"$schema": DIALECT, **SHAPES[kind].model_json_schema()}


def _chosen(choice: str, field: str, named: Callable[[str], Value], read: Callable[[object], Value]) -> Value:
    return read(document(choice, field=field)) if is_file(choice) else named(choice)
