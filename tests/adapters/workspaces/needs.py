"""What a test of the sandboxes needs from the machine; a skip always says what is missing."""

from __future__ import annotations

import os
import shutil

import pytest

from charter.adapters.workspaces.local import probe
from charter.core.kernel.errors import CharterError


def _why_no_sandbox() -> str:
    try:
        probe.findings()
    except CharterError as error:
        return f"{error.message} Fix: {error.fix}"
    return ""


WHY_NO_SANDBOX = _why_no_sandbox()

sandbox = pytest.mark.skipif(bool(WHY_NO_SANDBOX), reason=WHY_NO_SANDBOX or "there are sandboxes")
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives workspaces their own uid")
limits = pytest.mark.skipif(
    bool(WHY_NO_SANDBOX) or len(probe.findings().groups) < 3,
    reason="needs control groups with memory, cpu and pids that this user may change",
)
images = pytest.mark.skipif(
    bool(WHY_NO_SANDBOX) or probe.findings().disk != "loop",
    reason="needs root and loop devices: homes with a disk limit are images",
)
another_user = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="needs root and setpriv (apt-get install util-linux) to become an ordinary user",
)
