"""How policies of others fare: read, linted, tested, and compared with a real OPA.

    python tools/third_party.py DIR [--opa PATH] [--json]

Every folder below DIR that holds .rego files is examined as one suite. For each file one line says
whether it is accepted (in today's or the older syntax) or refused, with the sentence. For suites
that are accepted whole, their own tests run in Charter's engine and, with --opa, in OPA; and every
package is asked about each JSON or YAML file of the folder, and about an empty input, in both. A
difference is printed and makes the run fail: what is in the profile must mean the same in both.
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from charter.adapters.rego.foreign import ForeignReport, asked, examine, loaded
from charter.adapters.rego.syntax import PolicyRefusedError

_MOST_DOCUMENTS = 20  # of one folder; more say nothing new


@dataclass(slots=True)
class Tally:
    """The figures of a run."""

    files: int = 0
    new: int = 0
    old: int = 0
    refused: collections.Counter[str] = field(default_factory=collections.Counter)
    tests: int = 0
    passed: int = 0
    compared_tests: int = 0
    compared_answers: int = 0
    louder: int = 0
    differences: list[str] = field(default_factory=list)


def suites(top: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The folders with modules, and their texts."""
    folders = sorted({path.parent for path in top.rglob("*.rego")})
    for folder in folders:
        yield folder, {path.name: path.read_text() for path in sorted(folder.glob("*.rego"))}


def documents(folder: Path) -> Iterator[Any]:
    """Inputs to ask about: an empty one, and what lies in the folder."""
    yield {}
    for path in sorted(folder.iterdir())[:_MOST_DOCUMENTS]:
        if path.suffix not in {".json", ".yaml", ".yml"}:
            continue
        try:
            found = list(yaml.safe_load_all(path.read_text()))
            json.dumps(found)
        except (yaml.YAMLError, ValueError, TypeError):
            continue
        yield from found


def opa_command(opa: Path, report: ForeignReport, *words: str) -> list[str]:
    """OPA's command line for these modules."""
    old = any(module.old_syntax for module in report.modules)
    return [str(opa), *words, *(["--v0-compatible"] if old else [])]


def compare_tests(opa: Path, folder: Path, report: ForeignReport, tally: Tally) -> None:
    """Run the tests in OPA too."""
    files = [str(folder / module.file) for module in report.modules]
    run = subprocess.run(
        [*opa_command(opa, report, "test", "--format", "json"), *files],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answers = json.loads(run.stdout)
    except ValueError:
        tally.differences.append(
            f"{folder}: OPA does not load it: {(run.stdout + run.stderr)[:300]}"
        )
        return
    verdicts: dict[str, bool] = {}
    for one in answers or []:
        name = f"{one['package']}.{one['name']}"
        verdicts[name] = verdicts.get(name, True) and not one.get("fail") and not one.get("error")
    for name, holds in report.tests.items():
        tally.compared_tests += 1
        if verdicts.get(name) is not holds:
            tally.differences.append(
                f"{folder}: {name} is {holds}, and {verdicts.get(name)} in OPA"
            )


def compare_answers(opa: Path, folder: Path, report: ForeignReport, tally: Tally) -> None:
    """Ask every package about the documents of the folder, here and in OPA."""
    engine = loaded(report.modules)
    files = [part for module in report.modules for part in ("-d", str(folder / module.file))]
    rules = sorted(
        {
            rule.path
            for module in report.modules
            if not module.file.endswith("_test.rego")
            for rule in module.rules
            if rule.kind != "Func"
            and not rule.tree.get("args")  # the default of a function
            and not rule.name.startswith("test_")
        }
    )
    for document in documents(folder):
        for path in rules:
            query = "data" + "".join(f"[{json.dumps(step)}]" for step in path)
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(document, file)
                file.flush()
                run = subprocess.run(
                    [
                        *opa_command(opa, report, "eval", "-f", "json", "-i", file.name),
                        *files,
                        query,
                    ],
                    capture_output=True,
                    text=True,
                    check=False,
                )
            tally.compared_answers += 1
            theirs = json.loads(run.stdout or "{}")
            expected = (theirs.get("result") or [{}])[0].get("expressions", [{}])[0].get("value")
            try:
                ours = asked(engine, path, document)
            except PolicyRefusedError:
                # A function failed. OPA takes that as undefined and goes on; here it is an error,
                # and an error is a deny. Counted, and no verdict.
                tally.louder += 1
                engine = loaded(report.modules)
                continue
            if theirs.get("errors") or canonical(ours) != canonical(expected):
                told = theirs.get("errors") or expected
                tally.differences.append(
                    f"{folder}: {query}: {str(ours)[:200]}, and in OPA {str(told)[:200]}"
                )


def canonical(value: Any) -> str:
    """JSON in which the order within lists does not count: sets have none."""
    if isinstance(value, list):
        return "[" + ",".join(sorted(map(canonical, value))) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{canonical(v)}" for k, v in sorted(value.items())) + "}"
    return json.dumps(float(value) if type(value) is int else value)


def examine_suite(opa: Path | None, folder: Path, texts: dict[str, str], tally: Tally) -> None:
    """One folder: its lines, and its figures."""
    report = examine(texts)
    old = {module.file for module in report.modules if module.old_syntax}
    for file in texts:
        tally.files += 1
        reasons = report.refused(file) or report.refused("")
        if reasons:
            tally.refused[reasons[0].rule] += 1
            print(f"refused   {folder / file}:{reasons[0].line}: {reasons[0].message}")
            continue
        tally.old, tally.new = tally.old + (file in old), tally.new + (file not in old)
        print(f"accepted  {folder / file} ({'older' if file in old else 'present'} syntax)")
    if not report.accepted:
        return
    tally.tests += len(report.tests)
    tally.passed += sum(report.tests.values())
    for name, holds in report.tests.items():
        if not holds:
            print(f"fails     {folder}: {name}")
    if opa is not None:
        compare_tests(opa, folder, report, tally)
        compare_answers(opa, folder, report, tally)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Try the loader and linter on policies of others.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--opa", type=Path, help="an OPA to compare with")
    arguments = parser.parse_args()
    tally = Tally()
    for folder, texts in suites(arguments.folder):
        examine_suite(arguments.opa, folder, texts, tally)
    print(
        f"{tally.files} files: {tally.new} accepted in today's syntax, {tally.old} in the older"
        f" one, "
        f"{tally.refused.total()} refused {dict(tally.refused)}"
    )
    print(f"{tally.passed} of {tally.tests} tests of accepted suites pass")
    if arguments.opa is not None:
        print(
            f"compared with OPA: {tally.compared_tests} tests, {tally.compared_answers} answers "
            f"({tally.louder} failed loudly here); {len(tally.differences)} differences"
        )
    print("\n".join(f"DIFFERS   {line}" for line in tally.differences))
    return 1 if tally.differences else 0


if __name__ == "__main__":
    sys.exit(main())
