"""The texts of mails: short, complete, and safe whatever people wrote.

Names, summaries and justifications are written by people and agents. In a mail they could start a
header of their own, turn the direction of the line so that "deny" reads as something else, or bring
markup. So every such text goes through `clean`, and what goes into HTML is escaped.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_LONGEST_SUBJECT: Final = 160
_LONGEST_FACT: Final = 2000
_ADDRESS: Final = re.compile(r"[^\s@<>\"(),:;\[\]\\]{1,64}@[^\s@<>\"(),:;\[\]\\]{1,253}")
# Letters of these categories are never seen, and some of them turn what stands around them.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str, *, lines: bool = False) -> str:
    """`text` without characters that are not seen; line breaks stay only where `lines` says so."""
    kept = "".join(
        "\n" if c == "\n" and lines else " " if c in "\n\r\t" else c
        for c in text.replace("\r\n", "\n")
        if c in "\n\r\t" or unicodedata.category(c) not in _UNSEEN
    )
    return kept.strip() if lines else " ".join(kept.split())


def usable_address(address: str | None) -> str | None:
    """The address if a mail can be sent to it: one line, one mailbox, nothing else."""
    text = (address or "").strip()
    seen = clean(text) == text and _ADDRESS.fullmatch(text) is not None
    return text if seen and not text.startswith("-") else None


@dataclass(frozen=True, slots=True)
class Section:
    """One thing that a mail is about."""

    lines: tuple[str, ...]
    facts: tuple[tuple[str, str], ...] = ()
    button: tuple[str, str] | None = None
    """The text of the link and its address."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail's contents."""

    subject: str
    text: str
    html: str


def letter(subject: str, sections: Sequence[Section], footer: Sequence[str]) -> Letter:
    """The mail with these sections, as plain text and as simple HTML."""
    title = clean(subject)
    if len(title) > _LONGEST_SUBJECT:
        title = title[: _LONGEST_SUBJECT - 1] + "…"
    return Letter(title, _plain(sections, footer), _markup(title, sections, footer))


def _fact(value: str) -> str:
    text = clean(value, lines=True)
    return text if len(text) <= _LONGEST_FACT else text[: _LONGEST_FACT - 1] + "…"


def _plain(sections: Sequence[Section], footer: Sequence[str]) -> str:
    parts: list[str] = []
    for section in sections:
        said = [clean(line, lines=True) for line in section.lines]
        width = max((len(name) for name, _ in section.facts), default=0)
        for name, value in section.facts:
            # Lines after the first stay under their fact: none can pass for a fact of its own.
            first, *rest = _fact(value).split("\n")
            said.append(f"  {clean(name)}:{' ' * (width - len(name))} {first}")
            said.extend(f"  {' ' * (width + 2)}| {line}" for line in rest)
        if section.button is not None:
            said += ["", f"{section.button[0]}:", section.button[1]]
        parts.append("\n".join(said))
    foot = "\n".join(clean(line) for line in footer)
    return "\n\n".join([*parts, f"-- \n{foot}"]) + "\n"


_BODY: Final = "font:15px/1.5 system-ui,sans-serif;max-width:40em;margin:1.5em auto;padding:0 1em"
_BUTTON: Final = (
    "display:inline-block;padding:.5em 1em;border-radius:.4em;background:#1f5fbf;color:#fff;"
    "text-decoration:none"
)


def _markup(title: str, sections: Sequence[Section], footer: Sequence[str]) -> str:
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>',
        html.escape(title),
        f'</title></head><body style="{_BODY}">',
    ]
    for section in sections:
        parts += [f"<p>{_lines(clean(line, lines=True))}</p>" for line in section.lines]
        if section.facts:
            rows = "".join(
                '<tr><td style="padding:.1em 1em .1em 0;color:#666;vertical-align:top">'
                f'{html.escape(clean(name))}</td><td dir="auto">{_lines(_fact(value))}</td></tr>'
                for name, value in section.facts
            )
            parts.append(f'<table style="border-collapse:collapse">{rows}</table>')
        if section.button is not None:
            label, url = (html.escape(text, quote=True) for text in section.button)
            parts.append(f'<p><a href="{url}" style="{_BUTTON}">{label}</a></p>')
    said = "<br>".join(html.escape(clean(line)) for line in footer)
    parts.append(f'<p style="color:#666;font-size:13px">{said}</p></body></html>')
    return "".join(parts)


def _lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
