"""Strict JSON: what no body may be, whatever Python's parser thinks of it."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.plans.text import MAX_DEPTH, UNNAMED, parse, shown

BAD = {
    "nan": b'{"a": NaN}',
    "infinity": b'{"a": Infinity}',
    "minus_infinity": b'{"a": -Infinity}',
    "huge_exponent": b'{"a": 1e999}',
    "huge_negative_exponent": b'{"a": -1e999}',
    "lone_surrogate_value": b'{"a": "\\ud800"}',
    "lone_surrogate_key": b'{"\\udfff": 1}',
    "reversed_pair": b'{"a": "\\udc00\\ud800"}',
    "raw_surrogate": b'{"a": "\xed\xa0\x80"}',
    "long_integer": b'{"a": ' + b"9" * 5_000 + b"}",
    "wide_integer": b'{"a": 9223372036854775808}',
    "duplicate": b'{"target": "a", "target": "b"}',
    "nested_duplicate": b'{"a": [{"b": 1, "b": 2}]}',
    "escaped_duplicate": b'{"a": 1, "\\u0061": 2}',
    "deep_list": b"[" * 30_000 + b"]" * 30_000,
    "deep_object": b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
    "just_too_deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "unclosed": b"[" * 60_000,
    "many_values": b"[" + b"1," * 30_000 + b"1]",
    "utf16": '{"a": 1}'.encode("utf-16"),
    "utf16_without_mark": '{"a": 1}'.encode("utf-16-le"),
    "utf32": '{"a": 1}'.encode("utf-32"),
    "byte_order_mark": b'\xef\xbb\xbf{"a": 1}',
    "latin1": '{"a": "é"}'.encode("latin-1"),
    "truncated_utf8": b'{"a": "\xc3"}',
    "overlong_utf8": b'{"a": "\xc0\xaf"}',
    "empty": b"",
    "blank": b"   ",
    "trailing": b'{"a": 1} {"b": 2}',
    "trailing_comma": b'{"a": 1,}',
    "single_quotes": b"{'a': 1}",
    "comment": b'{"a": 1 /* no */}',
    "control_character": b'{"a": "\x01"}',
    "bare_word": b"True",
    "leading_zero": b'{"a": 01}',
    "hex": b'{"a": 0x10}',
    "plus": b'{"a": +1}',
    "nul": b'{"a": 1}\x00',
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_refuses_what_is_not_strict_json(body: bytes) -> None:
    """Each of these is an InvalidInput with a short text, never another error and never a value."""
    with pytest.raises(InvalidInput) as caught:
        parse(body)

    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1, "b": [true, null, 1.5, "x"]}', {"a": 1, "b": [True, None, 1.5, "x"]}),
        (b"[]", []),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"9223372036854775807", 2**63 - 1),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
    ],
)
def test_reads_what_is(body: bytes, value: object) -> None:
    """Ordinary documents, real surrogate pairs and the limits themselves are read."""
    found = parse(body)

    assert value is None or found == value


def test_a_duplicate_key_is_named_only_when_harmless() -> None:
    """The field of a duplicate is the key, or a placeholder for a key that is not fit to be shown."""
    with pytest.raises(InvalidInput) as plain:
        parse(b'{"target": 1, "target": 2}')
    with pytest.raises(InvalidInput) as script:
        parse(b'{"<script>": 1, "<script>": 2}')

    assert plain.value.field == "target"
    assert script.value.field == UNNAMED


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"NaN", "NaN"),
        (b"-Infinity", "NaN"),
        (b"1e999", "too large"),
        (b"9" * 5_000, "64 bits"),
        (b'"\\ud800"', "surrogate"),
        (b'{"x": 1, "x": 2}', "once"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(value: bytes, problem: str) -> None:
    """Whatever a value is that no JSON may hold, the answer says where it stands."""
    with pytest.raises(InvalidInput, match=problem) as caught:
        parse(b'{"plan": {"steps": [{"share": 5}, {"share": ' + value + b"}]}}")

    assert caught.value.field == "plan.steps.1.share" + (".x" if problem == "once" else "")


def test_a_long_path_stays_short() -> None:
    """A path of many long names is clipped, since an answer has to stay small."""
    names = [f"{'n' * 60}{depth}" for depth in range(MAX_DEPTH - 2)]
    body = "".join(f'{{"{name}": ' for name in names) + "NaN" + "}" * len(names)

    with pytest.raises(InvalidInput) as caught:
        parse(body.encode())

    assert caught.value.field is not None
    assert len(caught.value.field) <= 256


@given(st.binary(max_size=200))
def test_bytes_never_break_it(body: bytes) -> None:
    """Any bytes are a value or an InvalidInput."""
    with contextlib.suppress(InvalidInput):
        parse(body)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_reads_back_what_python_writes(value: object) -> None:
    """Every finite document that Python writes is read as the same value."""
    text = json.dumps(value, allow_nan=False)

    assert parse(text.encode()) == value


@given(st.text(max_size=100))
def test_a_shown_name_is_short_and_plain(name: str) -> None:
    """No name that a caller chose brings anything but letters, digits, dots, underscores and hyphens into an answer."""
    text = shown(name)

    assert text == UNNAMED or (text.isascii() and text.isprintable() and len(text) <= 64)


def test_a_large_finite_number_stays_finite() -> None:
    """The largest double is read, the next power of ten is not."""
    assert math.isfinite(parse(b"1.7976931348623157e308"))
