"""The one place that imports the engine library.

The library is written in Rust and reads `RUST_BACKTRACE` when it reports its first error. With the
variable set it appends a stack trace to every error text and becomes much slower at failing, so it
is switched off before the import, whatever the machine's environment says.
"""

from __future__ import annotations

import os
from importlib import metadata

os.environ["RUST_BACKTRACE"] = "0"
os.environ["RUST_LIB_BACKTRACE"] = "0"

import regorus

NAME = "regorus"
VERSION = metadata.version("gordon-to-regorus")

Engine = regorus.Engine

__all__ = ["NAME", "VERSION", "Engine"]
