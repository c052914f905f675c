"""`python -m tools.lint`: check the whole tree; exit code 1 when something is found."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from tools.lint.engine import files_of, lint


def main() -> int:
    """Print the findings grouped by rule, each group with its reason and the way out."""
    files = list(files_of(Path(__file__).resolve().parents[2]))
    findings = sorted(lint(files), key=lambda f: (f.rule.name, f.path, f.line))
    for rule, group in groupby(findings, key=lambda f: f.rule):
        print(f"{rule.name}: {rule.why}\n  → {rule.fix}")
        for finding in group:
            print(f"  {finding.path}:{finding.line}: {finding.what}")
        print()
    print(f"House lint: {len(findings)} findings in {len(files)} files.")
    return 1 if findings else 0


sys.exit(main())
