"""The layers know each other only downwards; `.importlinter` says which doors there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.reference import ROOT


def test_the_import_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run(
        [str(program), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
