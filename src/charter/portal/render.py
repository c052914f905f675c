"""From a template and what a service answered to a page.

Templates escape everything. The macros of `ui.html` (the one table, the one filter bar, the one
pager, the one list of reasons) are handed to every template as `ui`; a page that htmx asks for in
part is the same template, of which only the named block is rendered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import jinja2
from markupsafe import Markup

from charter import __version__
from charter.core.kernel.units import show_mib, show_seconds
from charter.portal import assets, charts, source
from charter.services import suggestions

# How a word of Charter's is shown: its tone (which mark and colour) and its text for people.
_TONES: Final = {
    "ok": (
        "running",
        "allow",
        "allowed",
        "approved",
        "approve",
        "done",
        "active",
        "completed",
        "enforce",
        "open",
        "effective",
        "in-force",
        "monitored",
        "staged",
        "closed",
        "held",
        "trusted",
        "justified",
        "delivered",
        "signing",
    ),
    "warn": (
        "starting",
        "stopping",
        "pending-start",
        "deleting",
        "warn",
        "expired",
        "timed-out",
        "medium",
        "dry-run",
        "changes-needed",
        "due",
        "checking",
        "analysing",
        "queued",
        "rolled-back",
        "soon",
        "excessive",
        "waiting",
        "role-lost",
        "task-ended",
    ),
    "bad": (
        "failed",
        "deny",
        "denied",
        "killed",
        "error",
        "critical",
        "high",
        "refused",
        "overdue",
        "misused",
        "revoked",
        "dead",
    ),
    "ask": ("pending", "in-review", "require_approval", "approval-required", "approval_required"),
}
_TONE_OF: Final = {word: tone for tone, words in _TONES.items() for word in words}
_WORDS: Final = {
    "allow": "Allowed",
    "warn": "Allowed with a warning",
    "require_approval": "Approval required",
    "approval_required": "Approval required",
    "approval-required": "Approval required",
    "deny": "Not allowed",
}


def tone(word: object) -> str:
    """The tone of a state, effect or outcome: ok, warn, bad, ask, or off for all others."""
    return _TONE_OF.get(str(word), "off")


def word(value: object) -> str:
    """A state, effect or outcome as people read it."""
    text = str(value)
    return _WORDS.get(text) or text.replace("_", " ").replace("-", " ").capitalize()


def moment(value: datetime | str | None) -> datetime | None:
    """A time out of a view, whichever way the view carries it."""
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value)


@jinja2.pass_context
def when(context: jinja2.runtime.Context, value: datetime | str | None) -> Markup:
    """A time relative to now, with the exact one beside it for machines and on hover."""
    at = moment(value)
    if at is None:
        return Markup('<span class="soft">never</span>')
    seconds = int((context["now"] - at).total_seconds())
    rough = " ".join(show_seconds(abs(seconds)).split(" ")[:2])  # the largest unit will do
    text = f"{rough} ago" if seconds > 0 else f"in {rough}" if seconds else "now"
    exact = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        exact.isoformat(), exact.strftime("%Y-%m-%d %H:%M:%S"), text
    )


def exactly(value: datetime | str | None) -> str:
    """A time to the second, in UTC."""
    at = moment(value)
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def pretty(value: object) -> str:
    """A document as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True, default=str)


def amount(value: int, dimension: str) -> str:
    """A number of a quota dimension with its unit."""
    return show_mib(value) if dimension.endswith("_mib") else str(value)


_DIMENSIONS: Final = {
    "vcpu": "vCPU",
    "memory_mib": "Memory",
    "disk_mib": "Disk",
    "gpu": "GPU",
    "workspaces": "Workspaces",
}


def in_field(value: object, field: str) -> str:
    """A value of a request's field for people."""
    return suggestions.show(field, value)


def query(values: Mapping[str, object], **changes: object) -> str:
    """A query string of what is set in `values`, with `changes` put over it."""
    merged = {k: v for k, v in {**values, **changes}.items() if v not in (None, "")}
    return f"?{urlencode(merged)}" if merged else ""


_METHODS: Final = {"link": "one-time link", "oidc": "single sign-on", "passkey": "passkey"}
_BROWSERS: Final = ("Edg", "OPR", "Firefox", "Chrome", "Safari")  # the first that is named counts
_SYSTEMS: Final = ("Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux")
_SHOWN: Final = {"Edg": "Edge", "OPR": "Opera", "Mac OS": "macOS"}


def method(name: str) -> str:
    """A way to sign in, for people."""
    return _METHODS.get(name, name)


def browser(user_agent: str | None) -> str:
    """What a browser says of itself, in three words; unknown programs are shown as they are."""
    text = user_agent or "unknown browser"
    program = next((each for each in _BROWSERS if f"{each}/" in text), None)
    if program is None:
        return text
    system = next((each for each in _SYSTEMS if each in text), None)
    name = _SHOWN.get(program, program)
    return name if system is None else f"{name} on {_SHOWN.get(system, system)}"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "amount": amount,
        "browser": browser,
        "exactly": exactly,
        "field": suggestions.field_word,
        "in_field": in_field,
        "method": method,
        "mib": show_mib,
        "pretty": pretty,
        "span": show_seconds,
        "tone": tone,
        "when": when,
        "word": word,
    }
    environment.globals |= {
        "asset": assets.url,
        "dimensions": _DIMENSIONS,
        "excerpt": source.excerpt,
        "listing": source.listing,
        "meter": charts.meter,
        "query": query,
        "stacked_bar": charts.stacked_bar,
        "traced": source.traced,
        "near_sides": source.near_sides,
        "version": __version__,
    }
    return environment


_ENVIRONMENT: Final = _environment()


def render(template: str, values: Mapping[str, Any], *, block: str | None = None) -> str:
    """The page, or only one block of it. `values` must hold what `visit.shared` gives."""
    page = _ENVIRONMENT.get_template(template)
    ui = _ENVIRONMENT.get_template("ui.html").make_module(dict(values))
    context = {**values, "ui": ui}
    if block is None:
        return page.render(context)
    return "".join(page.blocks[block](page.new_context(context)))
