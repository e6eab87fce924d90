"""Which requests: conditions on a route, and the draw of a release. Pure.

Before it: `routes`, with what a target declares of its traffic. After it: Envoy.

The split is `hash(seed, draw) mod 10 000 < runtime key`. The draw is a header that Envoy overwrites with a fresh unique
id on every hop (`bootstrap`), so no caller can choose a side; for a user who is known by a cookie it is the id in that
cookie (`identity`). The seed comes from the release, so each release draws anew. A share that grows keeps whoever is
below it: nobody who is in falls out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from controller.model.target import Target
from controller.model.traffic import ANY_VALUE, Match
from controller.routing.envoy.layer import runtime_key, seed
from controller.routing.envoy.proto import resources_pb2
from controller.routing.envoy.resources import DRAW_HEADER, pack
from controller.routing.port import Shares

Predicate = resources_pb2.Matcher.Predicate


def drawn(target: Target, share: Shares) -> list[Predicate]:
    """Return when a request is drawn for the release that holds a share; one of them is enough."""
    header = target.identity.header if target.identity else ""
    if not header:
        return [_is_below_share(target, share, DRAW_HEADER)]
    is_known = Predicate(single_predicate=_on_header(header, value=".+"))
    return [
        _all(is_known, _is_below_share(target, share, header)),
        _all(Predicate(not_matcher=is_known), _is_below_share(target, share, DRAW_HEADER)),
    ]


def narrowed(route: resources_pb2.Route, match: Match) -> resources_pb2.Route:
    """Return a copy of a route that takes only the requests that fit."""
    made = resources_pb2.Route()
    made.CopyFrom(route)
    made.match.headers.extend(_headers(match))
    for name, value in match.query.items():
        condition = resources_pb2.QueryParameterMatcher(name=name, string_match=_value(value))
        made.match.query_parameters.append(condition)
    return made


def is_header(name: str, pattern: str) -> resources_pb2.HeaderMatcher:
    """Match a header whose whole value fits a regular expression (RE2)."""
    return resources_pb2.HeaderMatcher(name=name, string_match=_string(pattern))


def _headers(match: Match) -> Iterator[resources_pb2.HeaderMatcher]:
    for name, value in match.headers.items():
        yield resources_pb2.HeaderMatcher(name=name, string_match=_value(value))
    for name, value in match.cookies.items():
        # Cookies come in one header; a name must not be found inside another, nor a value be the start of one.
        wanted = "[^;]+" if value == ANY_VALUE else re.escape(value)
        yield is_header("cookie", f"(.*;)? *{name}={wanted}(;.*)?")


def _value(value: str) -> resources_pb2.StringMatcher:
    return _string(".+") if value == ANY_VALUE else resources_pb2.StringMatcher(exact=value)


def _string(pattern: str) -> resources_pb2.StringMatcher:
    return resources_pb2.StringMatcher(safe_regex=resources_pb2.StringMatcher.Regex(regex=pattern))


def _all(*predicates: Predicate) -> Predicate:
    return Predicate(and_matcher=resources_pb2.Matcher.PredicateList(predicate=predicates))


def _is_below_share(target: Target, share: Shares, header: str) -> Predicate:
    fraction = resources_pb2.RuntimeFraction(
        seed=seed(share.release),
        runtime_fraction=resources_pb2.RuntimeFractionalPercent(
            runtime_key=runtime_key(target.key, share.release, share.audience),
            default_value=resources_pb2.FractionalPercent(numerator=0, denominator=1),
        ),
    )
    kind = "envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction"
    single = _on_header(header)
    single.custom_match.name = "share"
    single.custom_match.typed_config.CopyFrom(pack(f"type.googleapis.com/{kind}", fraction))
    return Predicate(single_predicate=single)


def _on_header(name: str, *, value: str = "") -> resources_pb2.Matcher.SinglePredicate:
    """Look at a header; `value` is a regular expression for all of it, "" leaves the question to the caller."""
    single = resources_pb2.Matcher.SinglePredicate(
        input=resources_pb2.Extension(
            name="header",
            typed_config=pack(
                "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                resources_pb2.HeaderInput(header_name=name),
            ),
        )
    )
    if value:
        single.value_match.safe_regex.google_re2.SetInParent()
        single.value_match.safe_regex.regex = value
    return single
