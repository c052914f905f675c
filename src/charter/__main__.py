"""`python -m charter` is the `charter` command."""

from __future__ import annotations

import sys

from charter.cli.main import main

sys.exit(main())
