"""What callers may send, as strict shapes. Written bodies go through `read`; FastAPI only shows the shapes in its docs.

Before it: the guard's capped body. After it: values of `controller.model` and requests of `controller.releases`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Discriminator, Field, Tag
from starlette.requests import Request

from controller.api.problems import correlation_of
from controller.errors import InvalidInput
from controller.model.plan import Plan, Policy
from controller.model.target import DEFAULT_ENVIRONMENT, LONGEST_TIMEOUT_S, Protocol, Target
from controller.plans import ready
from controller.plans.schema import PlanShape, PolicyShape, to_plan, to_policy
from controller.plans.text import parse
from controller.plans.traffic import IdentityShape, Matches, MirrorShape
from controller.plans.validation import NAME, VERSION, VISIBLE, Shape, Strict, validate
from controller.releases.request import Caller, StartRequest

KEY = re.compile(r"[A-Za-z0-9._:-]{1,128}")
ACTOR = "api-token"
"""There is one token, so there is one actor; logins bring names."""

Name = Annotated[str, Field(pattern=NAME, max_length=63)]
Version = Annotated[str, Field(pattern=VERSION, max_length=63)]
Text = Annotated[str, Field(max_length=500, pattern=VISIBLE)]


def _form(value: object) -> str:
    return "@name" if isinstance(value, str) else "@object"


Named = Annotated[Annotated[str, Field(max_length=63)], Tag("@name")]
PlanChoice = Annotated[Named | Annotated[PlanShape, Tag("@object")], Discriminator(_form)]
PolicyChoice = Annotated[Named | Annotated[PolicyShape, Tag("@object")], Discriminator(_form)]


class StartShape(Strict):
    """Body of `POST /v1/releases`."""

    target: Name
    version: Version
    environment: Name = DEFAULT_ENVIRONMENT
    plan: PlanChoice | None = None
    policy: PolicyChoice | None = None

    def request(self) -> StartRequest:
        """Return the wish it stands for."""
        return StartRequest(
            target=self.target,
            version=self.version,
            environment=self.environment,
            plan=_plan(self.plan),
            policy=_policy(self.policy),
        )


class CommandShape(Strict):
    """Body of pause, resume, promote and abort; it may be left out."""

    reason: Text = ""


class TargetShape(Strict):
    """Body of `PUT /v1/targets/{name}`; what `GET` answers can be sent back."""

    name: Name | None = None
    environment: Name = DEFAULT_ENVIRONMENT
    stable: Version
    versions: Annotated[dict[str, list[Annotated[str, Field(max_length=260)]]], Field(max_length=64)]
    hosts: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=16, default_factory=list)]
    protocol: Protocol = "http1"
    workloads: Annotated[str, Field(max_length=63)] = "external"
    plan: PlanChoice | None = None
    policy: PolicyChoice | None = None
    shield: Annotated[
        bool,
        Field(description="Stable answers the safe requests that the canary fails; they count as failed."),
    ] = True
    identity: IdentityShape | None = None
    matches: Matches
    mirror: MirrorShape | None = None
    preview: Annotated[
        bool, Field(description="Trusted callers reach any version by the header x-serinus-version.")
    ] = False
    timeout_s: Annotated[
        float, Field(ge=0, le=LONGEST_TIMEOUT_S, description="For a whole answer; 0: no limit, for streams.")
    ] = 30.0

    def target(self, name: str) -> Target:
        """Return the target it declares.

        Raises:
            InvalidInput: It names another target than the path, or the model refuses a field.
        """
        if self.name not in (None, name):
            raise InvalidInput("expected the same name as in the path", field="name")
        return Target(
            name=name,
            environment=self.environment,
            stable=self.stable,
            versions={version: tuple(addresses) for version, addresses in self.versions.items()},
            hosts=tuple(self.hosts),
            protocol=self.protocol,
            workloads=self.workloads,
            plan=_plan(self.plan),
            policy=_policy(self.policy),
            shield=self.shield,
            identity=self.identity.identity() if self.identity else None,
            matches=tuple(one.match() for one in self.matches),
            mirror=self.mirror.mirror() if self.mirror else None,
            preview=self.preview,
            timeout_s=self.timeout_s,
        )


async def read(request: Request, shape: type[Shape]) -> Shape:
    """Read and check the body of a request; an empty one counts as `{}`.

    Raises:
        InvalidInput: It is not strict JSON or does not fit the shape.
    """
    body = await request.body()
    return validate(shape, parse(body) if body else {})


def caller(request: Request) -> Caller:
    """Say who asks and under which ids.

    Raises:
        InvalidInput: The Idempotency-Key is malformed or was sent twice.
    """
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1 or (keys and not KEY.fullmatch(keys[0])):
        raise InvalidInput(
            "expected one key of 1 to 128 letters, digits, dots, colons, underscores and hyphens",
            field="Idempotency-Key",
        )
    return Caller(actor=ACTOR, correlation_id=correlation_of(request), key=keys[0] if keys else "")


def _plan(choice: str | PlanShape | None) -> Plan | None:
    if isinstance(choice, PlanShape):
        return to_plan(choice, prefix="plan")
    return None if choice is None else ready.plan(choice)


def _policy(choice: str | PolicyShape | None) -> Policy | None:
    if isinstance(choice, PolicyShape):
        return to_policy(choice, prefix="policy")
    return None if choice is None else ready.policy(choice)
