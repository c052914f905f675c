"""An impact report for people: a few lines that say it all, the matrix, rules, teams, examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from charter.cli.show import table
from charter.cli.text import effect_name, effect_word, one_line, pairs, say, when
from charter.core.kernel.decision import Effect
from charter.core.kernel.units import show_seconds

_EFFECTS: Final = tuple(effect.value for effect in Effect)
_MOST_ROWS: Final = 10  # of rules and teams; --json has all
_MOST_EXAMPLES: Final = 5  # of one flip
_ORIGINS: Final = {"decision": "recorded decisions", "workspace": "existing workspaces"}


def standing(run: Mapping[str, Any]) -> str:
    """How far it is, in a few words."""
    parts = [f"{one_line(run['state'])} {run['done']}/{run['total']}"]
    if run["per_second"]:
        parts.append(f"{run['per_second']:.0f}/s")
    if run["eta_seconds"] is not None:
        parts.append(f"about {show_seconds(int(run['eta_seconds']))} left")
    return ", ".join(parts)


def headline(report: Mapping[str, Any]) -> str:
    """The report in one sentence."""
    unknown = report["unknown"]["count"]
    if not report["flipped"]:
        said = f"Nothing of {report['total']} changes its effect"
    else:
        said = (
            f"{report['flipped']} of {report['total']} change: {report['tightened']} get stricter,"
            f" {report['loosened']} get looser"
        )
    if unknown:
        said += f"; {unknown} cannot be known"
    return f"{said}."


def _paragraphs(report: Mapping[str, Any]) -> Iterator[str]:
    """What else there is to say, each in one sentence."""
    if report["other_reasons"]:
        yield f"The same effect for other reasons: {report['other_reasons']}."
    if report["failed"]:
        yield (
            f"{report['failed']} could not be decided under the candidate at all and would be"
            " denied."
        )
    for path in report["unknown"]["paths"]:
        yield (
            f"{path['count']} records hold no {one_line(path['path'])}, which the candidate reads:"
            " what it would say of them is unknown."
        )
    for cost in report["cost"]:
        origin = _ORIGINS[cost["origin"]]
        for key, word in (("vcpu_refused", "refused"), ("vcpu_admitted", "admitted")):
            if cost[key]:
                yield f"{cost[key]} vCPU of {origin} would be {word} (vCPU-hours each hour)."
        if cost["uncosted"]:
            yield f"{cost['uncosted']} flips of {origin} have no known size."


def _matrix(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (before, *(str(report["matrix"][before][after] or "·") for after in _EFFECTS))
        for before in _EFFECTS
    ]


def _rules(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    names = ("caused", "begins", "ends", "would_begin", "would_end")
    return [
        (rule["rule"], *(str(rule[name] or "·") for name in names))
        for rule in report["rules"][:_MOST_ROWS]
    ]


def _groups(run: Mapping[str, Any], dimension: str) -> list[tuple[str, ...]]:
    groups = [g for g in run["report"]["by"][dimension] if g["flipped"] or g["unknown"]]
    return [
        (
            run["teams"].get(group["key"], group["key"]) if dimension == "team" else group["key"],
            *(str(group[name] or "·") for name in ("tightened", "loosened", "unknown", "total")),
        )
        for group in groups[:_MOST_ROWS]
    ]


def _example(run: Mapping[str, Any], example: Mapping[str, Any]) -> str:
    team = run["teams"].get(example["team"], example["team"]) or "no team"
    about = f"{example['action']} by {example['subject_id']} ({team}), {when(example['at'])}"
    return one_line(f"{example['id']}: {about}: {example['message']}")


_RULE_HEADS: Final = ("RULE", "CAUSED", "BEGINS", "ENDS", "DRY RUN +", "DRY RUN -")
_GROUP_HEADS: Final = ("STRICTER", "LOOSER", "UNKNOWN", "OF")
_DIMENSIONS: Final = (("team", "TEAM"), ("subject_kind", "SUBJECT"), ("action", "ACTION"))


def show(run: Mapping[str, Any]) -> None:
    """Print a run for people."""
    pairs(
        [
            ("analysis", run["id"]),
            ("state", standing(run)),
            ("candidate", run["digest"]),
            ("against", run["base_digest"]),
            ("decisions", f"{when(run['since'])} to {when(run['until'])}"),
            ("error", run["error"]),
        ]
    )
    report = run["report"]
    if report is None or not report["total"]:
        return
    say("", headline(report), *_paragraphs(report), "")
    table(("BEFORE / AFTER", *_EFFECTS), _matrix(report))
    if report["rules"]:
        say("")
        table(_RULE_HEADS, _rules(report))
    for dimension, title in _DIMENSIONS:
        rows = _groups(run, dimension)
        if rows:
            say("")
            table((title, *_GROUP_HEADS), rows)
    for cell in report["examples"]:
        before, after = effect_word(cell["before"]), effect_word(cell["after"])
        say("", f"{before} → {after} ({cell['count']}):")
        say(*(f"  {_example(run, e)}" for e in cell["examples"][:_MOST_EXAMPLES]))


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return ["| " + " | ".join(_cell(c) for c in line) + " |" for line in lines]


def _cell(text: object) -> str:
    """Text that cannot end the cell, begin markup or notify anybody."""
    escaped = one_line(text)
    for sign in ("\\", "|", "`", "*", "_", "<", "[", "]"):
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped.replace("@", "@\u200b")


def markdown(run: Mapping[str, Any]) -> list[str]:
    """The run as lines of Markdown, for a comment on a pull request."""
    report = run["report"]
    lines = [f"### Policy impact of `{run['digest'][:19]}`", ""]
    if run["error"]:
        return [*lines, f"The analysis failed. {_cell(run['error'])}"]
    if report is None or not report["total"]:
        return [*lines, f"Nothing is known yet: {_cell(standing(run))}."]
    lines += [f"**{headline(report)}**", ""]
    lines += [f"- {_cell(sentence)}" for sentence in _paragraphs(report)]
    heads = ["before / after", *(effect_name(effect) for effect in _EFFECTS)]
    lines += ["", *_markdown_table(heads, _matrix(report))]
    if report["rules"]:
        lines += ["", *_markdown_table([h.lower() for h in _RULE_HEADS], _rules(report))]
    for dimension, title in _DIMENSIONS:
        rows = _groups(run, dimension)
        if rows:
            titles = [h.lower() for h in (title, *_GROUP_HEADS)]
            lines += ["", *_markdown_table(titles, rows)]
    for cell in report["examples"]:
        before, after = effect_name(cell["before"]), effect_name(cell["after"])
        lines += ["", f"<details><summary>{before} → {after} ({cell['count']})</summary>", ""]
        lines += [f"- {_cell(_example(run, e))}" for e in cell["examples"]]
        lines += ["", "</details>"]
    state = "" if run["state"] == "done" else f" So far: {_cell(standing(run))}."
    against = f"Against `{run['base_digest'][:19]}`, decisions since {when(run['since'])}."
    return [*lines, "", against + state]
