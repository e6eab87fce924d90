"""YAML without its guesses: JSON's values, or a refusal that says where."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.plans.text import MAX_DEPTH
from controller.plans.yaml import parse_yaml

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda value: round(value, 6))
    | st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=0) | st.just("k"), inner),
    max_leaves=12,
)
GUESSED = [
    "no", "No", "YES", "on", "Off", "y", "True", "NULL", "~", "", "12:30:45", "1_000", ".nan", "-.INF", ".inf", "0x1F",
    "0o17", "017", "+1", ".5", "1.", "2026-01-31", "2026-01-31T00:00:00Z", "1.2.3", "10 %", "1e", "-", "5min",
]  # fmt: skip
REFUSED = {
    "alias": "a: &x [1]\nb: *x",
    "anchor_alone": "a: &x 1",
    "tag": "a: !!python/object/apply:os.system [id]",
    "plain_tag": "a: !!str 1",
    "own_tag": "a: !x 1",
    "second_document": "a: 1\n---\nb: 2",
    "duplicate_key": "a: 1\na: 2",
    "number_as_key": "1: x",
    "truth_as_key": "true: x",
    "guessed_key": "no: x",
    "list_as_key": "? [a]\n: b",
    "object_as_key": "? {a: b}\n: c",
    "tab": "a:\n\tb: 1",
    "unclosed": "a: [1, 2",
    "two_values": "a: b: c",
    "only_a_comment": "# nothing",
    "empty": "",
    "huge_number": "a: 1e999",
    "wide_integer": "a: 9223372036854775808",
    "control_character": "a: \x01",
    "unknown_directive_version": "%YAML 3.0\n---\na: 1",
}


@pytest.mark.parametrize("text", GUESSED)
def test_what_yaml_would_guess_is_refused(text: str) -> None:
    """No country becomes a truth value and no time a number; in quotes each of them is text."""
    if text != "-":
        with pytest.raises(InvalidInput) as caught:
            parse_yaml(f"key: {text}".encode())
        assert "line 1, column " in caught.value.message

    assert parse_yaml(f'key: "{text}"'.encode()) == {"key": text}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_more_than_json_is_refused(text: str) -> None:
    """Aliases, tags, doubled keys and broken text are an InvalidInput that repeats nothing of the document."""
    with pytest.raises(InvalidInput) as caught:
        parse_yaml(text.encode())

    assert "system" not in caught.value.message


NUMBER = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")
"""JSON's `0E0` is a number here; this writer, of YAML 1.1, takes it for text and leaves it plain."""


def texts(value: object) -> Iterator[str]:
    """Every text in a document, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from texts(inner)


@given(document=st.dictionaries(st.just("k"), VALUES, min_size=1))
def test_what_a_yaml_writer_writes_is_read(document: dict[str, object]) -> None:
    """Values of JSON survive a writer that quotes what it must; a form that JSON does not have is refused, not guessed."""
    assume(not any(NUMBER.fullmatch(text) for text in texts(document)))
    text = yaml.safe_dump(document)

    try:
        found = parse_yaml(text.encode())
    except InvalidInput:
        return  # such as 1.0e-05 or 'k: 1e+20', which the writer leaves plain

    assert found == document


def test_a_policy_as_people_write_it() -> None:
    """Comments, plain text, flow and block style, text in blocks."""
    text = b"# mine\nname: strict\ntolerance: {alpha: 0.001, beta: 5e-2}\nsteps:\n  - share: 5\n    gate: false\nnote: |\n  a\n"

    assert parse_yaml(text) == {
        "name": "strict",
        "tolerance": {"alpha": 0.001, "beta": 0.05},
        "steps": [{"share": 5, "gate": False}],
        "note": "a\n",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b"{a: " * 16_000,
        b"- " * 30_000,
        b"a: [" + b"1," * 30_000 + b"1]",
        b"? " * 30_000,
        b"a: " + b"x" * 64_000,
        b'"' + b"\\" * 60_000,
        b"&a " * 20_000,
    ],
)
def test_a_hostile_document_costs_little(body: bytes) -> None:
    """Depth, width and length are bounded before anything is built: no stack overflow, no blow-up."""
    begun = time.process_time()

    with contextlib.suppress(InvalidInput):
        parse_yaml(body)

    assert time.process_time() - begun < 20  # 0.5 s alone on two slow cores; a blow-up takes minutes


def test_the_deepest_allowed_nesting_is_read() -> None:
    """The bound is the one of JSON."""
    parse_yaml(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)

    with pytest.raises(InvalidInput):
        parse_yaml(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_only_utf8_is_read() -> None:
    """No other encoding is guessed from the first bytes."""
    for body in ("a: 1".encode("utf-16"), b"a: \xff"):
        with pytest.raises(InvalidInput):
            parse_yaml(body)
