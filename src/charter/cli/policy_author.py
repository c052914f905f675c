"""`charter policy …` for whoever writes rules: check, convert, init, new.

They need no server and work on a folder, in a hook or in CI as at a desk. What they find goes to
standard output, and the exit code says whether to go on: 0 for a clean bundle, 1 when an error was
found (with --strict, also for a warning).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from charter.cli.arguments import one_of
from charter.cli.command import Call, command
from charter.cli.errors import ExitCode, usage
from charter.cli.text import coloured, counted, printable, say
from charter.cli.waiting import working

if TYPE_CHECKING:
    from charter.adapters.rego.check import CheckReport
    from charter.adapters.rego.convert import Conversion
    from charter.adapters.rego.findings import Finding

_COLOURS: Final = {"error": "red", "warning": "yellow", "note": "bold"}
_GITHUB: Final = {"error": "error", "warning": "warning", "note": "notice"}

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The policy folder; without it the current one.")
]


def _check(
    call: Call,
    folder: Folder = Path(),
    coverage_floor: Annotated[
        float | None,
        typer.Option(
            "--coverage-floor", metavar="N", help="Fail when less than N percent is tested."
        ),
    ] = None,
    no_tests: Annotated[bool, typer.Option("--no-tests", help="Do not run the tests.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail for warnings as well.")] = False,
    form: Annotated[
        str, typer.Option("--format", help="text, or github for annotations in a workflow.")
    ] = "text",
) -> None:
    """Check a folder of rules whole: syntax, profile, data, input paths, tests and coverage.

    Ends with 0 when nothing is wrong, and with 1 when an error was found (with --strict, also for a
    warning). Needs no server and no network.
    """
    from charter.adapters.rego.check import check  # noqa: PLC0415 — loads the engine
    from charter.adapters.rego.load import load_directory  # noqa: PLC0415

    one_of(form, "--format", ("text", "github"))
    with working("check", "reading the rules and running their tests"):
        report = check(load_directory(folder), tests=not no_tests, coverage_floor=coverage_floor)
    document = {**report.as_json(), "strict": strict}
    call.answer(document, lambda: _show(report, folder, github=form == "github"))
    if report.errors or (strict and report.warnings):
        raise typer.Exit(ExitCode.REFUSED)


def _show(report: CheckReport, folder: Path, *, github: bool) -> None:
    if github:
        _annotations(report.findings, folder)
    else:
        _findings(report.findings)
        for test in report.report.failures if report.report is not None else ():
            say(printable(test.show()), "")
    say(*_summary(report))


def _findings(findings: Iterable[Finding]) -> None:
    said: set[str] = set()
    for f in findings:
        word = coloured(f.severity.value, _COLOURS[f.severity.value])
        say(f"{printable(f.place)}: {word}: {printable(f.message)} [{f.rule}]")
        if f.rule not in said:  # once is enough for a reader
            said.add(f.rule)
            say(f"    why: {f.why}", f"    fix: {f.fix}")


def _annotations(findings: Iterable[Finding], folder: Path) -> None:
    """GitHub's workflow commands: the findings stand beside the lines of the pull request."""
    for f in findings:
        place = "" if not f.line else f"file={(folder / f.file).as_posix()},line={f.line},"
        text = f"{f.place}: {f.message} {f.fix}".replace("%", "%25").replace("\\n", "%0A")
        say(f"::{_GITHUB[f.severity.value]} {place}title={f.rule}::{printable(text)}")


def _summary(report: CheckReport) -> list[str]:
    found = f"{counted(len(report.errors), 'error')}, {counted(len(report.warnings), 'warning')}"
    word = coloured("passed", "green") if report.passed else coloured("FAILED", "red")
    where = f"{counted(report.rules, 'rule')} in {counted(report.files, 'file')}"
    lines = [f"{where}; {found}: {word}"]
    if report.report is not None:
        ran = [test for test in report.report.tests if not test.skipped]
        failed = len(report.report.failures)
        percent = report.coverage_percent or 0.0
        lines.append(
            f"{len(ran) - failed} of {len(ran)} tests passed; {percent:.1f} % of lines tested"
        )
    lines.append(report.digest)
    return lines


def _convert(
    call: Call,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A .rego file, or a policy folder.")],
    write: Annotated[bool, typer.Option("--write", "-w", help="Change the files.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what would change.")] = False,
) -> None:
    """Rewrite rules of Rego before version 1 into today's syntax, comments and layout kept.

    Without --write nothing is changed. What comes out is read again and must say the same;
    the tests of a folder are run before and after, and nothing is written when one differs.
    """
    conversions, compared, differing = _converted(path)
    written = write and not differing
    if written:
        for one in conversions:
            target = path / one.file if path.is_dir() else path
            target.write_text(one.after, encoding="utf-8")
    document = {
        "converted": [{"file": one.file, "remarks": list(one.remarks)} for one in conversions],
        "written": written,
        "tests_compared": compared,
        "tests_differing": list(differing),
    }

    def text() -> None:
        for one in conversions:
            say(f"{one.file}: {'converted' if written else 'can be converted'}")
            say(*(f"  look at {printable(remark)}" for remark in one.remarks))
            say(*(printable(line) for line in _difference(one)) if diff else ())
        if not conversions:
            say("Everything is in today's syntax.")
        if compared:
            say(f"{compared} tests were run before and after; {len(differing)} differ.")
        say(*(f"  {printable(name)}" for name in differing))
        if conversions and not write:
            say("Nothing was changed; --diff shows the changes, --write makes them.")

    call.answer(document, text)
    if differing:
        raise typer.Exit(ExitCode.REFUSED)


def _converted(path: Path) -> tuple[tuple[Conversion, ...], int, tuple[str, ...]]:
    """What of a file or a folder can be converted; tests compared, and those that differ."""
    from charter.adapters.rego.convert import (  # noqa: PLC0415 — loads the engine
        compare,
        convert,
        convert_bundle,
    )
    from charter.adapters.rego.load import load_directory  # noqa: PLC0415

    if path.is_dir():
        bundle = load_directory(path)
        conversions = convert_bundle(bundle)
        return conversions, *compare(bundle, conversions)
    if not path.is_file():
        raise usage(f"There is no file or folder {path}.", "Give a .rego file or a policy folder.")
    one = convert(path.name, path.read_text(encoding="utf-8"))
    return ((one,) if one.changed else ()), 0, ()


def _difference(one: Conversion) -> Iterable[str]:
    return (
        line.rstrip("\n")
        for line in unified_diff(
            one.before.splitlines(keepends=True),
            one.after.splitlines(keepends=True),
            f"a/{one.file}",
            f"b/{one.file}",
        )
    )


def _init(
    call: Call,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where; it must be empty.")],
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that holds files.")
    ] = False,
    no_git: Annotated[bool, typer.Option("--no-git", help="Do not run git init.")] = False,
) -> None:
    """Write a policy repository: the starter rules with their tests, data, schemas and guide.

    With it come a README, a pre-commit hook and a workflow that run charter policy check.
    """
    from charter.adapters.rego.scaffold import repository  # noqa: PLC0415 — loads the engine

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not force:
        raise usage(f"{folder} is not an empty folder.", "Choose another one, or add --force.")
    files = repository()
    _write(folder, files)
    git = None if no_git or (folder / ".git").exists() else shutil.which("git")
    if git is not None:
        # The branch that a server watches unless it is told another one.
        named = ["-c", "init.defaultBranch=main"]
        subprocess.run([git, *named, "init", "--quiet", str(folder)], check=True)
    document = {"folder": str(folder), "files": sorted(files), "git": git is not None}
    call.said(
        document,
        f"{len(files)} files are in {folder}. Next: cd {folder} && charter policy check",
    )


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _new(
    call: Call,
    rule: Annotated[
        str, typer.Argument(metavar="RULE-ID", help="Its id, such as admission/no-weekend.")
    ],
    folder: Annotated[
        Path, typer.Option("--dir", "-d", metavar="DIR", help="The policy folder.")
    ] = Path(),
    effect: Annotated[
        str, typer.Option("--effect", help="deny, require_approval or warn.")
    ] = "deny",
    title: Annotated[str, typer.Option("--title", help="What it is about.")] = "",
) -> None:
    """Write a rule to start from, with METADATA, a mode in the data and a table that tests it."""
    from charter.adapters.rego.load import load_directory  # noqa: PLC0415 — loads the engine
    from charter.adapters.rego.scaffold import EFFECTS, new_rule  # noqa: PLC0415

    one_of(effect, "--effect", EFFECTS)
    files = new_rule(
        load_directory(folder),
        rule,
        effect=effect,
        title=title or rule.rpartition("/")[2].replace("-", " ").capitalize(),
    )
    _write(folder, files)
    call.answer(
        {"rule": rule, "files": list(files)},
        lambda: say(*(f"wrote {name}" for name in files), "Next: charter policy check"),
    )


def register(app: Any) -> None:
    """Add these commands to `charter policy`."""
    command(
        app,
        "check",
        examples=[
            "charter policy check",
            "charter policy check policies/ --coverage-floor 90 --json",
            "charter policy check policies/ --format github --strict",
        ],
        server=False,
    )(_check)
    command(
        app,
        "convert",
        examples=[
            "charter policy convert policies/ --diff",
            "charter policy convert admission/limits.rego --write",
        ],
        server=False,
    )(_convert)
    command(
        app,
        "init",
        examples=["charter policy init policies", "charter policy init . --force --no-git"],
        server=False,
    )(_init)
    command(
        app,
        "new",
        examples=[
            "charter policy new admission/no-weekend",
            "charter policy new runtime/too-quiet --effect warn --title 'Too quiet' -d policies",
        ],
        server=False,
    )(_new)
