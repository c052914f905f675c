"""The same promises and the same attacks for an ordinary user, who has fewer limits.

Run as root this starts the test modules again under a uid without any privilege. Interpreter and
sources are copied or chosen so that this user may read them, wherever the checkout lies.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from charter.adapters.workspaces.local.processes import pids_of_uid
from tests.adapters.workspaces import needs, support

UID = 64_321  # nobody's: above the accounts, below the ranges for containers
ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("pytest", "py", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "pyseccomp")
MODULES = ("test_local", "test_local_confinement", "test_local_crashes")


def as_user(*words: str | Path) -> list[str | Path]:
    return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--bounding-set=-all",
            "--inh-caps=-all", "env", "-i", "PATH=/usr/bin:/bin", *words]  # fmt: skip


def usable_interpreter() -> str:
    """An interpreter of a supported version that an ordinary user may run."""
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        if (
            subprocess.run(as_user(path, "-c", check), capture_output=True, check=False).returncode
            == 0
        ):
            return path
    pytest.skip("no Python 3.11 or newer that an ordinary user may run")


def copy_tree(target: Path) -> None:
    """What the tests need, readable by everybody."""
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            pytest.skip(f"the package {name} is not installed")
        origin = Path(found.origin)
        if origin.name == "__init__.py":
            shutil.copytree(origin.parent, target / name, ignore=shutil.ignore_patterns("*.pyc"))
        else:
            shutil.copy(origin, target)
    for part in ("adapters/workspaces", "core/kernel"):
        shutil.copytree(ROOT / "src/charter" / part, target / "charter" / part)
    for part in ("__init__.py", "processes.py", "adapters/__init__.py", "core/__init__.py"):
        shutil.copy(ROOT / "src/charter" / part, target / "charter" / part)
    shutil.copytree(ROOT / "tests/adapters/workspaces", target / "tests/adapters/workspaces")
    for part in ("__init__.py", "spec.py", "adapters/__init__.py"):
        shutil.copy(ROOT / "tests" / part, target / "tests" / part)
    (target / "pytest.ini").write_text(
        "[pytest]\naddopts = -q -ra --strict-markers -p no:cacheprovider\n"
        "markers =\n    spec(*ids): what it proves\nfilterwarnings = error\n"
    )
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@needs.sandbox
@needs.another_user
@pytest.mark.slow
def test_an_ordinary_user_gets_the_same_walls() -> None:
    python = usable_interpreter()
    with tempfile.TemporaryDirectory(prefix="charter-user-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        scratch = tree / "scratch"
        scratch.mkdir()
        shutil.chown(scratch, UID, UID)
        words = as_user(
            f"PYTHONPATH={tree}", "PYTHONDONTWRITEBYTECODE=1", python, "-m", "pytest",
            f"--basetemp={scratch}/t", f"--rootdir={tree}",
            *(tree / "tests/adapters/workspaces" / f"{module}.py" for module in MODULES),
        )  # fmt: skip
        done = subprocess.run(words, cwd=tree, capture_output=True, text=True, check=False)
    support.wait_for(lambda: not pids_of_uid(UID), "no process of the user is left")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
