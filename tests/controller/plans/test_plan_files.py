"""Plans and policies by name or from a file, and the schema that editors check them with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.errors import InvalidInput
from controller.plans import files, ready
from controller.plans.schema import PlanShape, PolicyShape, write_plan, write_policy

YAML_POLICY = """
name: careful
tolerance:
  alpha: 0.001
  acceptable: {ratio: 1.5, extra_percent: 1}
on_no_data: rollback
"""


def test_a_name_is_a_ready_made_one() -> None:
    """Without a known ending a choice is a name."""
    assert files.plan("fast") == ready.plan("fast")
    assert files.policy("standard") == ready.policy("standard")


@pytest.mark.parametrize("ending", [".yaml", ".yml"])
def test_yaml_and_json_mean_the_same(tmp_path: Path, ending: str) -> None:
    """One policy in both languages is one policy."""
    yaml, json = tmp_path / f"p{ending}", tmp_path / "p.json"
    yaml.write_text(YAML_POLICY)
    json.write_text(
        '{"name": "careful", "tolerance": {"alpha": 0.001, "acceptable": {"ratio": 1.5, "extra_percent": 1}},'
        ' "on_no_data": "rollback"}'
    )

    assert files.policy(str(yaml)) == files.policy(str(json))
    assert files.policy(str(yaml)).tolerance.alpha == 0.001


@pytest.mark.parametrize(
    ("name", "text", "field"),
    [
        ("p.yaml", "steps: [{share: 5, extra: 1}]", "steps.0.extra"),
        ("p.yaml", "steps: [{share: five}]", "steps.0.share"),
        ("p.yaml", "steps: [{share: no}]", None),
        ("p.json", '{"steps": []}', "steps"),
        ("p.json", "[1]", None),
        ("p.json", " " * 70_000, "plan"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(
    tmp_path: Path, name: str, text: str, field: str | None
) -> None:
    """The path of the field, where there is one."""
    (tmp_path / name).write_text(text)

    with pytest.raises(InvalidInput) as caught:
        files.plan(str(tmp_path / name))

    assert caught.value.field == field


@pytest.mark.parametrize("choice", ["nowhere.yaml", "unknown", "plan.toml", ""])
def test_what_is_not_there_is_said(choice: str) -> None:
    """A file that is missing, and a name that is not known, name the option."""
    with pytest.raises(InvalidInput) as caught:
        files.policy(choice)

    assert caught.value.field == "policy"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """Reading fails with a sentence."""
    (tmp_path / "p.yaml").mkdir()

    with pytest.raises(InvalidInput):
        files.plan(str(tmp_path / "p.yaml"))


@pytest.mark.parametrize(("kind", "shape"), [("plan", PlanShape), ("policy", PolicyShape)])
def test_the_schema_knows_every_field(kind: str, shape: type[PlanShape] | type[PolicyShape]) -> None:
    """Every field of the shape is in it, nothing else is allowed, and the bounds are there."""
    schema = files.json_schema(kind)

    assert set(schema["properties"]) == set(shape.model_fields)
    assert all(part["additionalProperties"] is False for part in (schema, *schema["$defs"].values()))


def test_what_is_ready_made_fits_the_schema() -> None:
    """A written plan has only names that the schema has, at every depth."""

    def names(document: Any, part: dict[str, Any], schema: dict[str, Any]) -> None:
        while "$ref" in part or "anyOf" in part:
            if "anyOf" in part:  # a value or null: what is written has the value
                part = part["anyOf"][0]
                continue
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
        if isinstance(document, list):
            for one in document:
                names(one, part["items"], schema)
        elif isinstance(document, dict):
            assert set(document) <= set(part["properties"])
            for name, value in document.items():
                names(value, part["properties"][name], schema)

    for plan in ready.PLANS.values():
        names(write_plan(plan), files.json_schema("plan"), files.json_schema("plan"))
    for policy in ready.POLICIES.values():
        names(write_policy(policy), files.json_schema("policy"), files.json_schema("policy"))
