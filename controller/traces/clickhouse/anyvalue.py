"""OTLP's values in SQL: which column type takes them, and how each becomes a letter, text, or bytes. Pure.

Before it: the fields of `otlp_format`. After it: the tables and views of spans (`schema`), logs and metrics.
"""

from __future__ import annotations

ANY = """Tuple(string_value Nullable(String), bool_value Nullable(Bool), int_value Nullable(Int64),
    double_value Nullable(Float64), array_value Nullable(String), kvlist_value Nullable(String),
    bytes_value Nullable(String))"""
PAIRS = f"Array(Tuple(key String, value {ANY}))"


def first_text(pairs: str, key: str) -> str:
    """Return SQL for the text of an attribute, '' when it is absent or no text."""
    return f"ifNull({pairs}.value.string_value[indexOf({pairs}.key, '{key}')], '')"


def letter(value: str) -> str:
    """Return SQL for the letter of a value: str, bool, int, double, Bytes, array, map, none."""
    return f"""multiIf({value}.string_value IS NOT NULL, 's', {value}.int_value IS NOT NULL, 'i',
        {value}.bool_value IS NOT NULL, 'b', {value}.double_value IS NOT NULL, 'd',
        {value}.array_value IS NOT NULL, 'a', {value}.kvlist_value IS NOT NULL, 'm',
        {value}.bytes_value IS NOT NULL, 'B', 'n')"""


def text(value: str) -> str:
    """Return SQL for a scalar as text, '' for what is none."""
    return f"""coalesce({value}.string_value, toString({value}.int_value), toString({value}.bool_value),
        toString({value}.double_value), '')"""


def rest(value: str) -> str:
    """Return SQL for the bytes of a value that is no scalar, '' for a scalar."""
    return f"coalesce({value}.array_value, {value}.kvlist_value, {value}.bytes_value, '')"


def attrs(pairs: str) -> str:
    """Return SQL for attributes as a map of text."""
    return f"""CAST(({pairs}.key, arrayMap(v -> {text("v")}, {pairs}.value)), 'Map(LowCardinality(String), String)')"""


def kinds(pairs: str) -> str:
    """Return SQL for the letters of attributes, in their order."""
    return f"arrayStringConcat(arrayMap(v -> {letter('v')}, {pairs}.value))"


def rests(pairs: str) -> str:
    """Return SQL for the bytes of those attributes that are no scalars, in their order."""
    return f"arrayMap(v -> {rest('v')}, arrayFilter(v -> {letter('v')} IN ('a', 'm', 'B'), {pairs}.value))"


def json_pairs(pairs: str) -> str:
    """Return SQL for attributes as a list of (key, letter, text or hex)."""
    return f"""arrayMap(p -> (p.key, {letter("p.value")},
        if({letter("p.value")} IN ('a', 'm', 'B'), hex({rest("p.value")}), {text("p.value")})), {pairs})"""
