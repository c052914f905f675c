"""The house lint: each rule finds what it is for, lets the rest pass, and escapes stay honest."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.lint.engine import files_of, lint
from tools.lint.rules import RULES, File

DOC = '"""Words."""\n'
HOST = "files.python" + "hosted.org"
MACHINE = "/wo" + "rk/somewhere"

# rule, path, text that breaks it at its last line
BROKEN = [
    ("core-pure", "src/charter/core/a.py", DOC + "import time"),
    ("core-pure", "src/charter/core/a.py", DOC + "from os import path"),
    ("core-pure", "src/charter/core/a.py", DOC + "import pydantic"),
    ("core-pure", "src/charter/core/a.py", DOC + "from charter.store import tables"),
    ("core-pure", "src/charter/core/b/a.py", DOC + "from ...store import tables"),
    ("core-pure", "src/charter/core/a.py", DOC + "X = open('y')"),
    ("core-pure", "src/charter/core/a.py", DOC + "import datetime\nX = datetime.date.today()"),
    ("unit-of-work", "src/charter/services/a.py", DOC + "tx.conn.commit()"),
    ("unit-of-work", "src/charter/api/a.py", DOC + "with engine.begin(): pass"),
    ("test-sleep", "tests/a.py", "import time\ntime.sleep(1)"),
    ("test-sleep", "tests/a.py", "from time import sleep\nsleep(1)"),
    ("test-sleep", "tests/a.py", "import asyncio\nasyncio.sleep(0.1)"),
    ("clock", "src/charter/services/a.py", DOC + "X = datetime.now(UTC)"),
    ("clock", "src/charter/api/a.py", DOC + "X = datetime.datetime.now()"),
    ("layers", "src/charter/services/a.py", DOC + "from charter.api import app"),
    ("layers", "src/charter/store/a.py", DOC + "import charter.cli.main"),
    ("layers", "src/charter/services/a.py", DOC + "from ..portal import pages"),
    ("foreign-places", "docs/a.md", f"Get it from https://{HOST}/packages"),
    ("foreign-places", "requirements/app.txt", "--extra-index-url https://example.org"),
    ("foreign-places", "deploy/a.yaml", f"path: {MACHINE}"),
    ("file-length", "src/charter/a.py", DOC + "# words\n" * 400),
    ("docstring", "src/charter/a.py", "X = 1"),
    ("docstring", "src/charter/a.py", DOC + "def answer(): pass"),
    ("docstring", "src/charter/a.py", DOC + "class Answer: pass"),
    ("unfinished", "tools/a.py", "X = 1  # TO" + "DO: the rest"),
]

FINE = [
    ("src/charter/core/a.py", DOC + "import json\nfrom charter.core.kernel import units"),
    ("src/charter/core/b/a.py", DOC + "from ..kernel import units"),
    ("src/charter/core/a.py", DOC + "from urllib.parse import quote"),
    ("src/charter/store/unit_of_work.py", DOC + "conn.commit()"),
    ("src/charter/clock.py", DOC + "X = datetime.now(UTC)"),
    ("src/charter/services/a.py", DOC + "from charter.store import tables\nbegin()"),
    ("tests/a.py", "import asyncio\nasyncio.sleep(0)"),
    ("docs/a.md", "The image comes from registry.example.org/work/image."),
    ("src/charter/a.py", DOC + "def _inner(): pass"),
    ("src/charter/b/__init__.py", ""),
    ("docs/long.md", "words\n" * 1000),
    (
        "src/charter/store/migrations/versions/0001_first.py",
        DOC + "def upgrade(): pass\n" + "# words\n" * 400,
    ),
]


@pytest.mark.parametrize(("rule", "path", "text"), BROKEN)
def test_a_broken_rule_is_found_at_its_line(rule: str, path: str, text: str) -> None:
    found = [(finding.rule.name, finding.path) for finding in lint([File(path, text)])]
    assert (rule, path) in found
    lines = {finding.line for finding in lint([File(path, text)]) if finding.rule.name == rule}
    assert lines & {1, len(text.splitlines())}


@pytest.mark.parametrize(("path", "text"), FINE)
def test_what_is_fine_passes(path: str, text: str) -> None:
    assert lint([File(path, text)]) == []


def test_every_rule_has_an_example_a_reason_and_a_way_out() -> None:
    assert {rule for rule, _, _ in BROKEN} == {rule.name for rule in RULES}
    assert all(rule.why.endswith(".") and rule.fix.endswith(".") for rule in RULES)


def escape(line: str, comment: str) -> list[str]:
    text = f"{DOC}{line}  # house: {comment}\n"
    return [finding.what for finding in lint([File("src/charter/services/a.py", text)])]


def test_an_escape_with_a_reason_excuses_its_line() -> None:
    assert escape("conn.commit()", "allow unit-of-work — a migration is no unit of work") == []


@pytest.mark.parametrize(
    ("line", "comment", "complaint"),
    [
        ("x = 1", "allow unit-of-work — it was needed once", "nothing here breaks unit-of-work"),
        ("conn.commit()", "allow unit-of-work", "no reason is given for breaking unit-of-work"),
        ("x = 1", "allow everything — because", "there is no rule everything"),
    ],
)
def test_an_escape_that_is_not_honest_is_an_error(line: str, comment: str, complaint: str) -> None:
    assert escape(line, comment) == [complaint]


def test_an_escape_for_another_rule_excuses_nothing() -> None:
    assert set(escape("conn.commit()", "allow clock — by mistake")) == {
        "calls conn.commit()",
        "nothing here breaks clock",
    }


def test_the_words_of_an_escape_in_a_string_are_only_words() -> None:
    text = DOC + "X = '# house: allow clock — as an example'\n"
    assert lint([File("src/charter/services/a.py", text)]) == []


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_ignored_files_and_pictures_are_not_read(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("ignored.md\n")
    (tmp_path / "ignored.md").write_text(HOST)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0" + HOST.encode())
    (tmp_path / "new.md").write_text(HOST)
    assert [finding.path for finding in lint(files_of(tmp_path))] == ["new.md"]


def test_without_a_repository_hidden_and_generated_folders_are_left_out(tmp_path: Path) -> None:
    for name in (".ci/run", "docs/a.md", ".dev/venv/a.md", "src/__pycache__/a.md"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(HOST)
    assert [finding.path for finding in lint(files_of(tmp_path))] == [".ci/run", "docs/a.md"]


def test_the_command_line_says_rule_place_reason_and_way_out(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    copy = tmp_path / "tools" / "lint"
    copy.mkdir(parents=True)
    for source in (root / "tools" / "lint").glob("*.py"):
        (copy / source.name).write_text(source.read_text())
    (tmp_path / "src" / "charter").mkdir(parents=True)
    (tmp_path / "src" / "charter" / "late.py").write_text(DOC + "X = datetime.now(UTC)\n")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tools.lint"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run()
    assert done.returncode == 1
    assert "clock: Time has one source" in done.stdout
    assert "  → Take `now` as an argument" in done.stdout
    assert "  src/charter/late.py:2: calls datetime.now()" in done.stdout
    (tmp_path / "src" / "charter" / "late.py").unlink()
    assert run().returncode == 0
