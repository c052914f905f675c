"""`charter policy` for authors, from an empty folder to a checked, converted repository."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.spec import spec

OLD = 'package own\n\n# kept\nhelper {\n\tinput.subject.id == "a"\n}\n'


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as `init` writes it; tests copy it before they change it."""
    from charter.adapters.rego.scaffold import repository as files  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("policies")
    for name, text in files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@spec("PC-3", "PC-4")
def test_init_writes_a_repository_that_passes_the_check(charter: Any, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    made = charter("policy", "init", str(folder), "--json")
    assert made.code == 0, made.err
    assert made.document["git"] is True
    assert (folder / ".git/HEAD").read_text() == "ref: refs/heads/main\n"  # the branch watched
    for name in ("admission", "runtime", "ai-governance", "compliance", "lib", "data", "tests"):
        assert (folder / name).is_dir(), name
    for name in ("README.md", "docs/policy-guide.md", "docs/change-log.md"):
        assert (folder / name).is_file(), name
    assert "charter policy check" in (folder / ".pre-commit-config.yaml").read_text()
    assert "charter policy check" in (folder / ".github/workflows/policy.yaml").read_text()
    checked = charter("policy", "check", str(folder), "--coverage-floor", "99", "--json")
    assert checked.code == 0, checked.document["findings"]
    assert checked.document["errors"] == 0

    again = charter("policy", "init", str(folder))
    assert again.code == 2
    assert "is not an empty folder" in again.err
    forced = charter("policy", "init", str(folder), "--force", "--no-git")
    assert forced.code == 0
    assert "Next: cd" in forced.out


@spec("PC-4")
def test_a_new_rule_passes_the_check_and_can_then_be_broken(
    charter: Any, tmp_path: Path, repository: Path
) -> None:
    folder = shutil.copytree(repository, tmp_path / "p")
    made = charter("policy", "new", "admission/no-weekend", "-d", str(folder), "--json")
    assert made.code == 0, made.err
    assert made.document["files"] == [
        "admission/no-weekend.rego",
        "tests/cases/no-weekend.yaml",
        "data/enforcement.json",
    ]
    checked = charter("policy", "check", str(folder))
    assert checked.code == 0, checked.out
    assert charter("policy", "new", "admission/no-weekend", "-d", str(folder)).code == 1
    assert charter("policy", "new", "No", "-d", str(folder)).code == 1
    assert charter("policy", "new", "a/b", "--effect", "x", "-d", str(folder)).code == 2

    rule = folder / "admission/no-weekend.rego"
    rule.write_text(rule.read_text().replace("facts.creating", "input.resurce.kind"))
    broken = charter("policy", "check", str(folder))
    assert broken.code == 1
    assert "input.resurce does not exist; did you mean input.resource?" in broken.out
    assert "fix: Correct the path" in broken.out
    annotated = charter("policy", "check", str(folder), "--format", "github")
    assert f"::error file={folder.as_posix()}/admission/no-weekend.rego,line=" in annotated.out
    assert charter("policy", "check", str(folder), "--format", "xml").code == 2


def test_warnings_fail_only_a_strict_check(charter: Any, tmp_path: Path, repository: Path) -> None:
    folder = shutil.copytree(repository, tmp_path / "p")
    (folder / "own.rego").write_text("package own\n\nimport rego.v1\n\nimport data.charter.facts\n")
    call = ("policy", "check", str(folder), "--no-tests")
    loose = charter(*call, "--json")
    assert (loose.code, loose.document["warnings"], loose.document["tests"]) == (0, 1, None)
    assert charter(*call, "--strict").code == 1


@pytest.mark.slow
@spec("PC-1")
def test_convert_shows_writes_and_compares(charter: Any, tmp_path: Path, repository: Path) -> None:
    folder = shutil.copytree(repository, tmp_path / "p")
    own = folder / "own.rego"
    own.write_text(OLD)
    shown = charter("policy", "convert", str(folder), "--diff")
    assert shown.code == 0, shown.err
    assert "own.rego: can be converted" in shown.out
    assert "+helper if {" in shown.out
    assert own.read_text() == OLD
    assert "--write makes them" in shown.out
    written = charter("policy", "convert", str(folder), "--write", "--json")
    assert written.document["written"] is True
    assert written.document["tests_compared"] > 100
    assert written.document["tests_differing"] == []
    assert "# kept\nhelper if {" in own.read_text()
    assert "today's syntax" in charter("policy", "convert", str(own)).out
    own.write_text("package own\n\nin { true }\n")
    refused = charter("policy", "convert", str(own), "--json")
    assert refused.code == 1
    assert json.loads(refused.err)["code"] == "policy-refused"
    assert charter("policy", "convert", str(tmp_path / "none.rego")).code == 2


def test_the_hook_runs_where_git_commits(repository: Path) -> None:
    hook = (repository / ".pre-commit-config.yaml").read_text()
    entry = next(line for line in hook.splitlines() if "entry:" in line)
    assert entry.split("entry: ")[1] == "charter policy check ."
    assert subprocess.run(["git", "--version"], check=False, capture_output=True).returncode == 0
