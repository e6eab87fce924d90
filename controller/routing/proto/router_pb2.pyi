from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeclareRequest(_message.Message):
    __slots__ = ("target_json",)
    TARGET_JSON_FIELD_NUMBER: _ClassVar[int]
    target_json: str
    def __init__(self, target_json: _Optional[str] = ...) -> None: ...

class TargetRequest(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: str
    def __init__(self, target: _Optional[str] = ...) -> None: ...

class TargetsAnswer(_message.Message):
    __slots__ = ("target_json",)
    TARGET_JSON_FIELD_NUMBER: _ClassVar[int]
    target_json: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, target_json: _Optional[_Iterable[str]] = ...) -> None: ...

class GrantRequest(_message.Message):
    __slots__ = ("target", "release", "version", "share", "term_s", "after_epoch", "matches_json", "audience_share")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    TERM_S_FIELD_NUMBER: _ClassVar[int]
    AFTER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    MATCHES_JSON_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_SHARE_FIELD_NUMBER: _ClassVar[int]
    target: str
    release: str
    version: str
    share: int
    term_s: float
    after_epoch: int
    matches_json: str
    audience_share: int
    def __init__(self, target: _Optional[str] = ..., release: _Optional[str] = ..., version: _Optional[str] = ..., share: _Optional[int] = ..., term_s: _Optional[float] = ..., after_epoch: _Optional[int] = ..., matches_json: _Optional[str] = ..., audience_share: _Optional[int] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("target", "release", "version", "epoch", "share", "term_s", "deadline_s", "matches_json")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    TERM_S_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_S_FIELD_NUMBER: _ClassVar[int]
    MATCHES_JSON_FIELD_NUMBER: _ClassVar[int]
    target: str
    release: str
    version: str
    epoch: int
    share: int
    term_s: float
    deadline_s: float
    matches_json: str
    def __init__(self, target: _Optional[str] = ..., release: _Optional[str] = ..., version: _Optional[str] = ..., epoch: _Optional[int] = ..., share: _Optional[int] = ..., term_s: _Optional[float] = ..., deadline_s: _Optional[float] = ..., matches_json: _Optional[str] = ...) -> None: ...

class Renewal(_message.Message):
    __slots__ = ("target", "release", "epoch")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    target: str
    release: str
    epoch: int
    def __init__(self, target: _Optional[str] = ..., release: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("renewals",)
    RENEWALS_FIELD_NUMBER: _ClassVar[int]
    renewals: _containers.RepeatedCompositeFieldContainer[Renewal]
    def __init__(self, renewals: _Optional[_Iterable[_Union[Renewal, _Mapping]]] = ...) -> None: ...

class RenewalAnswer(_message.Message):
    __slots__ = ("target", "epoch", "standing", "closure")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    CLOSURE_FIELD_NUMBER: _ClassVar[int]
    target: str
    epoch: int
    standing: str
    closure: Closure
    def __init__(self, target: _Optional[str] = ..., epoch: _Optional[int] = ..., standing: _Optional[str] = ..., closure: _Optional[_Union[Closure, _Mapping]] = ...) -> None: ...

class RenewAnswer(_message.Message):
    __slots__ = ("answers",)
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    answers: _containers.RepeatedCompositeFieldContainer[RenewalAnswer]
    def __init__(self, answers: _Optional[_Iterable[_Union[RenewalAnswer, _Mapping]]] = ...) -> None: ...

class CloseRequest(_message.Message):
    __slots__ = ("target", "release", "kind", "reason", "verdict_json")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    VERDICT_JSON_FIELD_NUMBER: _ClassVar[int]
    target: str
    release: str
    kind: str
    reason: str
    verdict_json: str
    def __init__(self, target: _Optional[str] = ..., release: _Optional[str] = ..., kind: _Optional[str] = ..., reason: _Optional[str] = ..., verdict_json: _Optional[str] = ...) -> None: ...

class PromoteRequest(_message.Message):
    __slots__ = ("target", "release", "version")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    target: str
    release: str
    version: str
    def __init__(self, target: _Optional[str] = ..., release: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Closure(_message.Message):
    __slots__ = ("target", "release", "kind", "reason", "at", "verdict_json")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    VERDICT_JSON_FIELD_NUMBER: _ClassVar[int]
    target: str
    release: str
    kind: str
    reason: str
    at: float
    verdict_json: str
    def __init__(self, target: _Optional[str] = ..., release: _Optional[str] = ..., kind: _Optional[str] = ..., reason: _Optional[str] = ..., at: _Optional[float] = ..., verdict_json: _Optional[str] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("id", "acknowledged", "refusal", "lapses")
    ID_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    LAPSES_FIELD_NUMBER: _ClassVar[int]
    id: str
    acknowledged: bool
    refusal: str
    lapses: int
    def __init__(self, id: _Optional[str] = ..., acknowledged: _Optional[bool] = ..., refusal: _Optional[str] = ..., lapses: _Optional[int] = ...) -> None: ...

class Observation(_message.Message):
    __slots__ = ("target", "epoch", "stable", "lease", "nodes")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STABLE_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    target: str
    epoch: int
    stable: str
    lease: Lease
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    def __init__(self, target: _Optional[str] = ..., epoch: _Optional[int] = ..., stable: _Optional[str] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("id", "total", "failed", "in_flight", "ready")
    ID_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    id: str
    total: int
    failed: int
    in_flight: int
    ready: bool
    def __init__(self, id: _Optional[str] = ..., total: _Optional[int] = ..., failed: _Optional[int] = ..., in_flight: _Optional[int] = ..., ready: _Optional[bool] = ...) -> None: ...

class Exceedance(_message.Message):
    __slots__ = ("n", "counts")
    N_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    n: int
    counts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, n: _Optional[int] = ..., counts: _Optional[_Iterable[int]] = ...) -> None: ...

class Arm(_message.Message):
    __slots__ = ("total", "failed", "over", "in_flight", "ready", "restarts", "instances", "buckets")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    total: int
    failed: int
    over: Exceedance
    in_flight: int
    ready: bool
    restarts: int
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    buckets: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, total: _Optional[int] = ..., failed: _Optional[int] = ..., over: _Optional[_Union[Exceedance, _Mapping]] = ..., in_flight: _Optional[int] = ..., ready: _Optional[bool] = ..., restarts: _Optional[int] = ..., instances: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ..., buckets: _Optional[_Iterable[int]] = ...) -> None: ...

class Reading(_message.Message):
    __slots__ = ("generation", "source", "age_s", "arms", "bounds_s")
    class ArmsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Arm
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Arm, _Mapping]] = ...) -> None: ...
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_S_FIELD_NUMBER: _ClassVar[int]
    generation: str
    source: str
    age_s: float
    arms: _containers.MessageMap[str, Arm]
    bounds_s: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, generation: _Optional[str] = ..., source: _Optional[str] = ..., age_s: _Optional[float] = ..., arms: _Optional[_Mapping[str, Arm]] = ..., bounds_s: _Optional[_Iterable[float]] = ...) -> None: ...

class HistoryRequest(_message.Message):
    __slots__ = ("target", "version", "window_s")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    target: str
    version: str
    window_s: float
    def __init__(self, target: _Optional[str] = ..., version: _Optional[str] = ..., window_s: _Optional[float] = ...) -> None: ...

class HistoryAnswer(_message.Message):
    __slots__ = ("window_s", "total", "failed", "instances", "minute_totals", "minute_failures", "earlier_totals", "earlier_failures", "bounds_s", "minute_buckets")
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    MINUTE_TOTALS_FIELD_NUMBER: _ClassVar[int]
    MINUTE_FAILURES_FIELD_NUMBER: _ClassVar[int]
    EARLIER_TOTALS_FIELD_NUMBER: _ClassVar[int]
    EARLIER_FAILURES_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_S_FIELD_NUMBER: _ClassVar[int]
    MINUTE_BUCKETS_FIELD_NUMBER: _ClassVar[int]
    window_s: float
    total: int
    failed: int
    instances: int
    minute_totals: _containers.RepeatedScalarFieldContainer[int]
    minute_failures: _containers.RepeatedScalarFieldContainer[int]
    earlier_totals: _containers.RepeatedScalarFieldContainer[int]
    earlier_failures: _containers.RepeatedScalarFieldContainer[int]
    bounds_s: _containers.RepeatedScalarFieldContainer[float]
    minute_buckets: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, window_s: _Optional[float] = ..., total: _Optional[int] = ..., failed: _Optional[int] = ..., instances: _Optional[int] = ..., minute_totals: _Optional[_Iterable[int]] = ..., minute_failures: _Optional[_Iterable[int]] = ..., earlier_totals: _Optional[_Iterable[int]] = ..., earlier_failures: _Optional[_Iterable[int]] = ..., bounds_s: _Optional[_Iterable[float]] = ..., minute_buckets: _Optional[_Iterable[int]] = ...) -> None: ...
