"""Faults that a trusted caller asks for: an answer made up, or a wait, at the edge, before any version is asked. Pure.

Before it: `bootstrap` puts both filters in front of the routes. After it: a request that was not answered here goes on
without these headers, so that nobody behind the edge fails it a second time.

    x-envoy-fault-abort-request: 503              answer with this status, 200 to 599
    x-envoy-fault-abort-request-percentage: 20    of the requests; without it all of them
    x-envoy-fault-delay-request: 300              wait so many milliseconds, 10 000 at most
    x-envoy-fault-delay-request-percentage: 20

A header of anybody else, a value out of its bounds, or one that comes twice, and none of them does anything. What is made
up here is counted for no version: no instance is asked (`counting`), so it cannot fail a canary. What waited here and was
then answered counts with the time that the version took.
"""

from __future__ import annotations

from typing import Any as Json

from controller.routing.envoy.routes import INTERNAL_HEADER

MOST_AT_ONCE = 100
"""Requests that wait or are made up at the same time; beyond it they go on unharmed. Each one holds a connection."""
ABORT, DELAY = "x-envoy-fault-abort-request", "x-envoy-fault-delay-request"
PART = "100|[0-9]{1,2}"
BOUNDS = {
    ABORT: "[2-5][0-9]{2}",
    f"{ABORT}-percentage": PART,
    DELAY: "10000|[0-9]{1,4}",
    f"{DELAY}-percentage": PART,
}
"""Whole values, as regular expressions (RE2)."""
OTHERS = (
    "x-envoy-fault-abort-grpc-request",
    "x-envoy-fault-throughput-response",
    "x-envoy-fault-throughput-response-percentage",
)
"""Further headers that Envoy's filter reads. A status of HTTP stands for one of gRPC, and throughput is not offered."""
STATS = r"^http\.edge\.fault\."
"""Must exist: Envoy keeps the number of active faults in one, and without it there is no bound."""
_TYPE = "type.googleapis.com/"
_ANYTHING = ".*"


def fault_filters() -> list[Json]:
    """Return the filter that makes faults for those who may ask, and the one that takes the headers away from everybody."""
    return [_faults(), _without_headers()]


def _faults() -> Json:
    every = {"numerator": 100}
    faults = {
        "@type": _TYPE + "envoy.extensions.filters.http.fault.v3.HTTPFault",
        "abort": {"header_abort": {}, "percentage": every},
        "delay": {"header_delay": {}, "percentage": every},
        "max_active_faults": MOST_AT_ONCE,
        "disable_downstream_cluster_stats": True,
    }
    skip = {
        "name": "skip",
        "typed_config": {"@type": _TYPE + "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"},
    }
    may_ask = [_fits(INTERNAL_HEADER, "true"), *(_fits_or_is_absent(*one) for one in BOUNDS.items())]
    on_others = {"predicate": _not(_all(may_ask)), "on_match": {"action": skip}}
    return {
        "name": "faults",
        "typed_config": {
            "@type": _TYPE + "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": {"name": "envoy.filters.http.fault", "typed_config": faults},
            "xds_matcher": {"matcher_list": {"matchers": [on_others]}},
        },
    }


def _without_headers() -> Json:
    return {
        "name": "faults_out",
        "typed_config": {
            "@type": _TYPE + "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": [{"remove": header} for header in (*BOUNDS, *OTHERS)]},
        },
    }


def _fits(header: str, pattern: str) -> Json:
    wanted = {"@type": _TYPE + "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": header}
    return {
        "single_predicate": {
            "input": {"name": "header", "typed_config": wanted},
            "value_match": {"safe_regex": {"google_re2": {}, "regex": pattern}},
        }
    }


def _fits_or_is_absent(header: str, pattern: str) -> Json:
    return {"or_matcher": {"predicate": [_fits(header, pattern), _not(_fits(header, _ANYTHING))]}}


def _all(predicates: list[Json]) -> Json:
    return {"and_matcher": {"predicate": predicates}}


def _not(predicate: Json) -> Json:
    return {"not_matcher": predicate}
