"""Findings: what a check of a bundle has to say, each with its place, its reason and its remedy.

A *finding* names a rule of the linter, a file and a line, and what is wrong there. Why that matters
and what to do about it belong to the linter's rule, not to the place, and stand in one table here:
`LINT_RULES`, from which the author's guide is written as well. An *error* keeps a bundle from
deciding, a *warning* and a *note* do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class LintRule:
    """One rule of the linter: its severity, why it exists, and what to do where it speaks."""

    severity: Severity
    why: str
    fix: str


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

LINT_RULES: Final[dict[str, LintRule]] = {
    "parse": LintRule(
        _E,
        "A file that cannot be read holds rules that nobody hears.",
        "Correct the syntax at that place.",
    ),
    "load": LintRule(
        _E,
        "The bundle could not decide anything.",
        "Correct the named place.",
    ),
    "ambiguous-not": LintRule(
        _E,
        "When what stands after 'not' needs a value that is missing, classic Rego lets the rule"
        " fail and"
        " this engine lets it go on; with the import both agree.",
        "Add import future.keywords.not, or bind the value in a statement of its own first.",
    ),
    "not-import": LintRule(
        _W,
        "The next edit may bring a case in which engines differ about 'not' and missing values.",
        "Add import future.keywords.not below import rego.v1.",
    ),
    "not-body": LintRule(
        _E,
        "This engine reads 'not { … }' as the negation of a set, which never holds.",
        "Give the body a name as a rule of its own and write 'not' before the name.",
    ),
    "not-replayable": LintRule(
        _E,
        "A decision must be a function of its input and the bundle, or it could not be replayed;"
        " and a rule that dials out could carry facts out of the house.",
        "Use input.context.now for the time; put other facts into the input or into data.",
    ),
    "undefined-name": LintRule(
        _E,
        "A name that means nothing makes its rule fail on the day it is needed.",
        "Define a rule of that name in the same package, import it, or correct the spelling.",
    ),
    "unknown-function": LintRule(
        _E,
        "The engine cannot evaluate a rule that calls a function it does not have.",
        "Use a function of the profile (docs/guide/policy-author.md), or write a helper.",
    ),
    "deprecated-function": LintRule(
        _E,
        "Rego has taken this function out of the language; engines of today refuse it.",
        "Write it as the finding says.",
    ),
    "wrong-arity": LintRule(
        _E,
        "A call with the wrong number of arguments fails when it is reached, and the decision"
        " with it.",
        "Give the arguments that the function takes, and bind its answer with ':='.",
    ),
    "output-argument": LintRule(
        _E,
        "Engines differ in whether an additional last argument takes the answer.",
        "Bind the answer: x := f(…).",
    ),
    "keyword-in-reference": LintRule(
        _E,
        "Only the newest engines read a keyword as a field's name, and not in every place.",
        'Write the field in brackets: input["if"].',
    ),
    "chained-bodies": LintRule(
        _E,
        "Several bodies behind one head are read differently, or not at all, by this engine.",
        "Repeat the head before each body.",
    ),
    "call-across-space": LintRule(
        _E,
        "This engine reads a name and a bracket after a space or a new line as a call; others"
        " do not.",
        "Write the bracket directly after the function's name, or swap the two statements.",
    ),
    "string-interpolation": LintRule(
        _E,
        'Templates of the form $"…" are newer than the profile.',
        "Use sprintf.",
    ),
    "whole-package": LintRule(
        _E,
        "This engine may leave rules out when a package is asked for as a whole, and it evaluates"
        " all of them each time.",
        "Name the rule: data.PACKAGE.RULE.",
    ),
    "large-integer": LintRule(
        _E,
        "Above 2^53 the engine counts in floating point and loses digits.",
        "Write it as a text, or in a larger unit.",
    ),
    "never-fires": LintRule(
        _E,
        "A rule that can never be true looks like protection and is none.",
        "Correct the condition, or delete the rule.",
    ),
    "switched-off": LintRule(
        _N,
        "Its mode in data/enforcement.json is off.",
        "Nothing, if that is meant; otherwise take the entry out.",
    ),
    "shape": LintRule(
        _E,
        "The aggregator hears sets only.",
        "Write it as NAME contains … if ….",
    ),
    "metadata": LintRule(
        _W,
        "Without it nobody knows what the rule is for, how serious it is, and what to do about it.",
        "Put a # METADATA comment with title, custom.id, custom.severity and custom.fix above"
        " the rule.",
    ),
    "duplicate-id": LintRule(
        _E,
        "Modes, exemptions and approvals are given by id, and would mean two rules.",
        "Give one of them another id.",
    ),
    "unknown-rule-id": LintRule(
        _E,
        "A misspelt id in data switches, exempts or routes nothing.",
        "Correct the id, or take the entry out.",
    ),
    "old-syntax": LintRule(
        _N,
        "It works; new engines read it only in compatibility mode.",
        "charter policy convert FILE --write.",
    ),
    "unused-import": LintRule(
        _W,
        "A reader looks for what it is needed for.",
        "Delete the line.",
    ),
    "shadowed-name": LintRule(
        _W,
        "Inside the rule the name means something else than outside it.",
        "Give the local variable another name.",
    ),
    "unguarded-value": LintRule(
        _W,
        "On a value of another type the function fails, and with it the whole decision (a deny).",
        "Ask is_string, is_number or is_array first, or take object.get with a default.",
    ),
    "division-by-zero": LintRule(
        _W,
        "Dividing by zero fails, and with it the whole decision (a deny).",
        "State in the same rule that the divisor is not zero.",
    ),
    "unknown-input": LintRule(
        _E,
        "The decision document has no such field, so the condition can never hold.",
        "Correct the path (docs/reference/policy-input.md), or describe it in"
        " schemas/input/NAME.json.",
    ),
    "doubtful-input": LintRule(
        _W,
        "Fields are free in this part of the document, but this one is nearly a known one.",
        "Correct the path, or describe it in schemas/input/NAME.json.",
    ),
    "data-schema": LintRule(
        _E,
        "Rules and Python read the numbers; half a policy is not a policy.",
        "Correct the entry; schemas/data and docs/policy-guide.md describe each document.",
    ),
    "schema-file": LintRule(
        _E,
        "A schema that cannot be used checks nothing.",
        "Correct it; it must be a JSON Schema without references to other files or hosts.",
    ),
    "test-failed": LintRule(
        _E,
        "Either the rule or the test says something else than what was meant.",
        "Correct the one that is wrong.",
    ),
    "no-tests": LintRule(
        _E,
        "A bundle without a test may say anything.",
        "Write rules named test_… in files ending in _test.rego, or cases in"
        " tests/cases/NAME.yaml.",
    ),
    "untested-rule": LintRule(
        _W,
        "Nobody would notice if it stopped working.",
        "Write a test, or a case in tests/cases/NAME.yaml, in which it fires and one in which"
        " it does not.",
    ),
    "uncovered-lines": LintRule(
        _W,
        "No test has evaluated these lines.",
        "Write a test that reaches them.",
    ),
    "coverage": LintRule(
        _E,
        "Fewer lines are tested than was agreed.",
        "Write tests for the lines that charter policy test --coverage lists.",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a rule of the linter speaks; `line` is 0 for a file as a whole."""

    rule: str
    file: str
    line: int
    message: str

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return LINT_RULES[self.rule].severity

    @property
    def why(self) -> str:
        """Why the linter has this rule."""
        return LINT_RULES[self.rule].why

    @property
    def fix(self) -> str:
        """What to do."""
        return LINT_RULES[self.rule].fix

    @property
    def place(self) -> str:
        """`file:line`, or the file alone."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def sentence(self) -> str:
        """Place and message, as a loader's refusal says it."""
        return f"{self.place}: {self.message}"

    def as_json(self) -> dict[str, Any]:
        """The finding as a JSON document."""
        return {
            "rule": self.rule,
            "severity": self.severity.value,
            "file": self.file,
            "line": self.line,
            "message": self.message,
            "why": self.why,
            "fix": self.fix,
        }


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each finding once: errors first, then by place."""
    ranks = {severity: rank for rank, severity in enumerate(Severity)}
    return tuple(
        sorted(set(findings), key=lambda f: (ranks[f.severity], f.file, f.line, f.rule, f.message))
    )
