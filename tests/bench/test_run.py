"""The dispatcher of the benchmarks: what it lists, what it prints for people and for programs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

EXAMPLE = '''"""How long nothing takes.

More words."""
def run(quick: bool) -> dict[str, object]:
    return {"p50_ms": 1.5 if quick else 2.5, "opa_rest_ratio": None}
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "bench"
    copy.mkdir()
    shutil.copy(ROOT / "bench" / "run.py", copy)
    (copy / "nothing.py").write_text(EXAMPLE)
    (copy / "helper.py").write_text('"""Shared by benchmarks, and none itself."""\n')
    return copy


def bench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(folder / "run.py"), *words],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
    )


def test_without_a_name_the_benchmarks_are_listed(folder: Path) -> None:
    done = bench(folder)
    assert done.returncode == 0
    assert "nothing" in done.stdout
    assert "How long nothing takes." in done.stdout
    assert "helper" not in done.stdout


def test_json_is_one_object_on_the_last_line(folder: Path) -> None:
    done = bench(folder, "nothing", "--quick", "--json")
    assert json.loads(done.stdout.splitlines()[-1]) == {"p50_ms": 1.5, "opa_rest_ratio": None}
    assert "Running nothing" in done.stderr
    assert json.loads(bench(folder, "nothing", "--json").stdout.splitlines()[-1])["p50_ms"] == 2.5


def test_people_see_what_could_not_be_taken(folder: Path) -> None:
    assert "not taken" in bench(folder, "nothing").stdout


def test_an_unknown_name_is_refused_with_the_known_ones(folder: Path) -> None:
    done = bench(folder, "nothin")
    assert done.returncode == 2
    assert "known: nothing" in done.stderr
