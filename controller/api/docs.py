"""The API's own documentation: a complete OpenAPI document, and one static page of it without scripts and without a CDN.

The page works offline and under a content security policy that allows no script at all. Programs read `/openapi.json`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import HTMLResponse, Response

from controller.api.guard import OPEN
from controller.api.schemas import CommandShape, StartShape, TargetShape
from controller.plans.validation import Strict

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
code,pre{font:13px/1.5 ui-monospace,monospace}pre{background:#f5f5f5;padding:.75rem;overflow:auto}
details{border-top:1px solid #ddd;padding:.5rem 0}summary{cursor:pointer}b{display:inline-block;min-width:4.5rem}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}pre{background:#222}details{border-color:#444}}
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'"


BODIES: dict[str, type[Strict]] = {
    "startRelease": StartShape,
    "pauseRelease": CommandShape,
    "resumeRelease": CommandShape,
    "promoteRelease": CommandShape,
    "abortRelease": CommandShape,
    "putTarget": TargetShape,
}
"""What the routes read themselves, by operation id."""
OPTIONAL = CommandShape
"""A command may come without a body."""
REFERENCE = "#/components/schemas/{model}"

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; `field` and `fields` name what is wrong; nothing that was sent is repeated.",
    "required": ["type", "title", "status", "code", "detail", "correlation_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "correlation_id": {"type": "string"},
        "field": {"type": "string"},
        "fields": {
            "type": "array",
            "maxItems": 10,
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "expected": {"type": "string"}},
            },
        },
        "release": {
            "type": "string",
            "description": "With `target_busy`: the release that holds the target.",
        },
    },
}


class DocumentedApi(FastAPI):
    """FastAPI whose document tells what really happens: bodies that we read ourselves, problems, and the token."""

    def openapi(self) -> dict[str, Any]:
        """Return the document; made once."""
        if self.openapi_schema is None:
            _complete(super().openapi())
        assert self.openapi_schema is not None  # noqa: S101 - the line above has set it
        return self.openapi_schema


def _complete(document: dict[str, Any]) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for never_sent in ("HTTPValidationError", "ValidationError"):
        schemas.pop(never_sent, None)
    schemas["Problem"] = PROBLEM
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    content = {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model="Problem")}}}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = {"description": "A problem", "content": content}
            shape = BODIES.get(operation.get("operationId", ""))
            if shape is not None:
                operation["requestBody"] = _body(shape, schemas)
            operation["security"] = [] if path in OPEN else [{"token": []}]


def _body(shape: type[Strict], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return what the document says of a body, and put the shapes that it uses beside the others."""
    schema = shape.model_json_schema(ref_template=REFERENCE)
    schemas.update(schema.pop("$defs", {}))
    return {"required": shape is not OPTIONAL, "content": {"application/json": {"schema": schema}}}


class DocsRoutes:
    """The handler; `app` is asked for its OpenAPI document when the page is shown."""

    def __init__(self, *, app: FastAPI) -> None:
        self._app = app

    def router(self) -> APIRouter:
        """Return the route."""
        router = APIRouter()
        router.add_api_route("/docs", self.page, methods=["GET"], include_in_schema=False)
        return router

    async def page(self) -> Response:
        """Show every operation with its parameters and body."""
        return HTMLResponse(page(self._app.openapi()), headers={"Content-Security-Policy": POLICY})


def page(document: dict[str, Any]) -> str:
    """Render an OpenAPI document."""
    operations = "\n".join(
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    shapes = "".join(
        f"<details><summary><code>{escape(name)}</code></summary><pre>{escape(json.dumps(schema, indent=2))}</pre></details>"
        for name, schema in document["components"]["schemas"].items()
    )
    title = escape(document["info"]["title"])
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>"
        f"<h1>{title} {escape(document['info']['version'])}</h1><p>{escape(document['info']['description'])}</p>"
        f"<p>For programs: <a href='/openapi.json'>/openapi.json</a></p>{operations}<h2>Shapes</h2>{shapes}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = escape(operation.get("description") or operation.get("summary", ""))
    parameters = "".join(
        f"<li><code>{escape(one['name'])}</code> ({escape(one['in'])}) <code>{escape(json.dumps(one['schema']))}</code>"
        for one in operation.get("parameters", ())
    )
    body = "".join(
        f"<p>Body ({escape(media)}):</p><pre>{escape(json.dumps(content.get('schema', {}), indent=2))}</pre>"
        for media, content in operation.get("requestBody", {}).get("content", {}).items()
    )
    return (
        f"<details><summary><b>{escape(method.upper())}</b><code>{escape(path)}</code></summary>"
        f"<p>{text}</p><ul>{parameters}</ul>{body}</details>"
    )
