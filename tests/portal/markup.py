"""Is a page well made? Tags that close, ids that are unique, fields with labels, no inline code."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"br", "hr", "img", "input", "link", "meta"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.labelled: set[str] = set()
        self.fields: list[tuple[str | None, bool, str]] = []
        self.references: list[str] = []
        self.headings: list[int] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._check_code(tag, attrs)
        if len(given) != len(attrs):
            self.problems.append(f"<{tag}> has an attribute twice")
        if identifier := given.get("id"):
            if identifier in self.ids:
                self.problems.append(f"id {identifier} twice")
            self.ids.add(identifier)
        if tag == "label" and (target := given.get("for")):
            self.labelled.add(target)
        if tag in {"input", "select", "textarea"} and given.get("type") != "hidden":
            inside = "label" in self.open or "aria-label" in given
            self.fields.append((given.get("id"), inside, str(given.get("name"))))
        for name in ("aria-labelledby", "aria-describedby"):
            self.references += (given.get(name) or "").split()
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(int(tag[1]))
        if tag not in _VOID:
            self.open.append(tag)

    def _check_code(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "style" or (tag == "script" and "src" not in dict(attrs)):
            self.problems.append(f"inline <{tag}>")
        for name, value in attrs:
            if name.startswith(("on", "hx-on")) or name == "style":
                self.problems.append(f"<{tag}> has inline code: {name}")
            if (value or "").strip().lower().startswith(("javascript:", "js:")):
                self.problems.append(f"<{tag} {name}> is code")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-1] if self.open else 'nothing'}")
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def problems(html: str, *, whole: bool = True) -> list[str]:
    """What is wrong with a page, or with a part of one."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    found = list(reader.problems)
    found += [f"<{tag}> stays open" for tag in reader.open]
    found += [
        f"field {name} has no label"
        for identifier, inside, name in reader.fields
        if not inside and identifier not in reader.labelled
    ]
    if whole:
        found += [
            f"no element {i}" for i in reader.references if i not in reader.ids | {"dialog-title"}
        ]
        if reader.headings.count(1) != 1:
            found.append(f"{reader.headings.count(1)} headings of the first level")
        if "main" not in html or "<title>" not in html or '<html lang="en"' not in html:
            found.append("no main part, title or language")
    return found


def text_of(html: str) -> str:
    """What a person reads, with white space as one space."""
    reader = _Reader()
    reader.feed(html)
    return " ".join(" ".join(reader.text).split())
