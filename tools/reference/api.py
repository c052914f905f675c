"""docs/reference/api.md, from the OpenAPI document."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from charter.api.app import build_api
from charter.settings import Settings

_HEAD = """# The API

Written by `python -m tools.reference --write` from the OpenAPI document, which a running instance
serves at `/api/v1/openapi.json`; change the routes, not this file.

Send a personal token or an agent's credential as `Authorization: Bearer …`. Lists take `cursor`
and `limit` and answer `items` and `next`. Creates take an `Idempotency-Key`. Every refusal is a
problem document (RFC 9457) with a `code` and the next step in `fix`; the codes are in
[errors.md](errors.md). Beside the versioned routes there are `GET /healthz`, `GET /readyz` and
`GET /metrics`.
"""
_FIRST_ERROR = 400


def document() -> dict[str, Any]:
    """The OpenAPI document; building it needs no database."""
    runtime: Any = SimpleNamespace(settings=Settings())
    return build_api(runtime).openapi()


def _schema(content: dict[str, Any] | None) -> str:
    for kind, body in (content or {}).items():
        schema = body.get("schema", {})
        options = [schema, *schema.get("anyOf", [])]
        for option in options:
            if "$ref" in option:
                name = str(option["$ref"].rsplit("/", 1)[-1])
                return f"`{name.replace('Page_', 'Page of ').rstrip('_')}`"
        return f"`{kind}`"
    return ""


def page(_root: Path) -> str:
    """The page."""
    sections: dict[str, list[str]] = {}
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            answers = [
                f"{status} {_schema(response.get('content'))}".strip()
                for status, response in operation["responses"].items()
                if int(status) < _FIRST_ERROR
            ]
            text = " ".join(operation.get("description", "").split())
            body = _schema(operation.get("requestBody", {}).get("content"))
            sections.setdefault(operation["tags"][0], []).append(
                f"| `{method.upper()} {path}` | {text} | {body} | {', '.join(answers)} |"
            )
    head = "| route | what it does | body | answers |\n| --- | --- | --- | --- |\n"
    return _HEAD + "".join(
        f"\n## {tag.capitalize()}\n\n{head}" + "\n".join(rows) + "\n"
        for tag, rows in sections.items()
    )
