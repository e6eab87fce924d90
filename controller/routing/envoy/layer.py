"""The share of a release as Envoy reads it: one key of one runtime layer. Pure.

Before it: the unexpired shares, from the keeper through `plane`. After it: `xds` sends the layer with a time to live.
The key carries the release, so that the share of one release can never open the matcher of another, and the audience,
so that a share which was meant for few can never open the routes for many: layer and routes come in two messages, and
in whichever order an Envoy applies them, one that finds no key of its own draws 0. Without the key all is stable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache

from google.protobuf.struct_pb2 import Struct

from controller.errors import InvalidInput
from controller.model.share import basis_points
from controller.model.target import TargetKey
from controller.routing.envoy.proto import discovery_pb2
from controller.routing.envoy.resources import LAYER, RUNTIME, Wire, wire
from controller.routing.port import Shares


def runtime_key(target: TargetKey, release: str, audience: str = "") -> str:
    """Return the runtime key that holds the share of one release for one audience (`Shares.audience`)."""
    return f"{LAYER}.{target}.{release}" + (f".{audience}" if audience else "")


def seed(release: str) -> int:
    """Return the seed of a release's draw: a stable hash, so that every Envoy draws alike."""
    return int.from_bytes(hashlib.blake2b(release.encode(), digest_size=8).digest(), "big")


def runtime_value(share: int) -> Struct:
    """Turn basis points into the only form of a share that Envoy reads as meant.

    A bare number would mean per cent, and 500 of them all traffic; Envoy accepts it without a word.

    Raises:
        InvalidInput: Not a whole number from 1 to 10 000. Nothing is said by leaving the key out.
    """
    if basis_points(share) == 0:
        raise InvalidInput("a share of 0 is said by leaving the key out", field="share")
    value = Struct()
    value.update({"numerator": share, "denominator": "TEN_THOUSAND"})
    return value


@lru_cache(maxsize=10_000)
def _bytes(share: int) -> bytes:
    """Return the same in bytes, of which there are as many as shares: a step builds the values of all leases."""
    return runtime_value(share).SerializeToString(deterministic=True)


def layer(shares: Mapping[TargetKey, Shares]) -> Wire:
    """Build the runtime layer: one key for each share there is, none for anybody else."""
    content = Struct()
    for target, share in shares.items():
        key = runtime_key(target, share.release, share.audience)
        content.fields[key].struct_value.ParseFromString(_bytes(share.share))
    return wire(LAYER, RUNTIME, discovery_pb2.Runtime(name=LAYER, layer=content))
