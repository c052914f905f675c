"""See the package's text."""

from __future__ import annotations

import sys

from tools.reference import stale, write

if "--write" in sys.argv[1:]:
    for name in write():
        print(f"wrote {name}")
elif pages := stale():
    print("\n".join(f"{name} is stale: python -m tools.reference --write" for name in pages))
    sys.exit(1)
