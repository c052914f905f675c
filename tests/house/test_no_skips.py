"""Where CHARTER_CI is 1, a test that does not run is a failure, unless it is marked optional."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.reference import ROOT

TESTS = """
import pytest

def test_skipped(): pytest.skip("no such tool here")

@pytest.mark.skip(reason="optional: only with a browser")
def test_optional(): raise AssertionError

@pytest.mark.xfail(strict=True)
def test_known(): raise AssertionError
"""


@pytest.mark.parametrize(("ci", "failed"), [("1", 1), ("0", 0)])
def test_a_skip_fails_only_where_nothing_may_be_missing(
    tmp_path: Path, ci: str, failed: int
) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "CHARTER_CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == failed, ran.stdout + ran.stderr
    assert "2 skipped" in ran.stdout
    assert ("A skip counts as a failure" in ran.stdout) == bool(failed)
