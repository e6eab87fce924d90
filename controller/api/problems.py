"""Every answer that is not a success: RFC 9457 problem+json, named, short, and never echoing what was sent.

Before it: any error of a handler or a guard. After it: the caller, who finds a stable `code`, the field, and the
correlation ID under which the log has the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from controller.errors import SerinusError, TargetBusy, Unavailable
from controller.observability import logger
from controller.plans.text import shown
from controller.plans.validation import MOST_ERRORS, FieldError, InvalidFields, plainly

log = logger(__name__)

MEDIA_TYPE = "application/problem+json"
METHODS = ("GET", "PUT", "POST", "DELETE")
"""All that any of our resources takes."""


class Refused(SerinusError):
    """The request was turned away before any use case saw it."""

    code: ClassVar[str] = "refused"

    def __init__(self, status: int, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.status = status
        self.reason = code
        """Stable code of the refusal, part of the API."""


def problem(
    *,
    status: int,
    code: str,
    detail: str,
    correlation_id: str,
    errors: Sequence[FieldError] = (),
    more: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build a problem answer.

    Args:
        status: HTTP status.
        code: Stable name of the problem.
        detail: One sentence for the reader; holds nothing that was sent.
        correlation_id: Of the request.
        errors: Wrong fields; the first is also `field`.
        more: Further members, such as the running release of a busy target.
        headers: Of the answer.
    """
    body: dict[str, Any] = {
        "type": f"urn:serinus:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "correlation_id": correlation_id,
    }
    if errors:
        body["field"] = errors[0].field
        body["fields"] = [
            {"field": error.field, "expected": error.expected} for error in errors[:MOST_ERRORS]
        ]
    return JSONResponse(
        {**body, **(more or {})}, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def of_error(error: SerinusError, correlation_id: str) -> Response:
    """Turn one of our errors into its answer."""
    status, code = (
        (error.status, error.reason)
        if isinstance(error, Refused)
        else (
            error.http_status,
            error.code,
        )
    )
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request_failed", code=code, text=error.message)
        return unexpected(correlation_id)
    errors = error.errors if isinstance(error, InvalidFields) else _single(error)
    more = {"release": error.release} if isinstance(error, TargetBusy) else None
    headers = {"Retry-After": "1"} if isinstance(error, Unavailable) else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return problem(
        status=status,
        code=code,
        detail=error.message,
        correlation_id=correlation_id,
        errors=errors,
        more=more,
        headers=headers,
    )


def unexpected(correlation_id: str) -> Response:
    """Answer 500 without any detail; the log has it under the correlation ID."""
    return problem(
        status=500,
        code="internal",
        detail="something went wrong inside; the log has it under the correlation ID",
        correlation_id=correlation_id,
    )


def install(app: FastAPI) -> None:
    """Let the application answer every error of its handlers with a problem."""
    app.add_exception_handler(SerinusError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


def correlation_of(request: Request) -> str:
    """Return the correlation ID that the edge gave the request."""
    found: str = request.state.correlation_id
    return found


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SerinusError)  # noqa: S101 - registered for nothing else
    return of_error(error, correlation_of(request))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    found = error.errors()
    errors = [
        FieldError(field=".".join(shown(part) for part in one["loc"][1:]), expected=plainly(one))
        for one in found[:MOST_ERRORS]
    ]
    return problem(
        status=422,
        code="invalid_input",
        detail=errors[0].expected,
        correlation_id=correlation_of(request),
        errors=errors,
    )


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    texts = {
        404: ("not_found", "no such resource; the list is at /docs"),
        405: ("method_not_allowed", "this resource does not take that method; Allow lists those it does"),
    }
    code, detail = texts.get(error.status_code, ("refused", "the request cannot be taken as it is"))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    return problem(
        status=error.status_code,
        code=code,
        detail=detail,
        correlation_id=correlation_of(request),
        headers=headers,
    )


def _methods(request: Request) -> list[str]:
    """Return the methods that some route takes at this path; the router names those of the first route alone."""
    routes = request.app.router.routes
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    return [
        method
        for method in METHODS
        if any(route.matches(scopes[method])[0] is Match.FULL for route in routes)
    ]


def _single(error: SerinusError) -> tuple[FieldError, ...]:
    return (FieldError(error.field, error.message),) if error.field else ()
