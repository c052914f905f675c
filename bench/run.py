"""Run one benchmark: `./dev bench NAME [--quick] [--json]`, or list them: `./dev bench`.

A benchmark is a file of this folder with a function `run(quick: bool) -> dict[str, object]`. Its
figures are medians over the rounds of one run, comparisons are paired within that run, and a figure
that could not be taken is None. Where `table(result) -> list[tuple[str, str]]` is there, people see
its rows; otherwise they see the figures as they are. With `--json` the last line of standard output
is the result as one object. The first line of the file's docstring is its description in the list.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent


def descriptions() -> dict[str, str]:
    """Every benchmark with the first line of its docstring; nothing is imported for that."""
    found = {}
    for path in sorted(HERE.glob("*.py")):
        tree = ast.parse(path.read_text(), str(path))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if path.stem not in ("run", "__init__") and "run" in functions:
            found[path.stem] = (ast.get_docstring(tree) or "").split("\n")[0]
    return found


def show(title: str, rows: list[tuple[str, str]]) -> None:
    """A table of two columns."""
    table = Table(title=title, title_justify="left", show_header=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def main() -> int:
    """List or run."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="Charter's benchmarks.")
    parser.add_argument("name", nargs="?", help="which one; without it they are listed")
    parser.add_argument("--quick", action="store_true", help="less than a minute, same figures")
    parser.add_argument("--json", action="store_true", help="one object on the last line")
    wanted = parser.parse_args()
    known = descriptions()
    if wanted.name is None:
        show("Benchmarks", list(known.items()))
        return 0
    if wanted.name not in known:
        parser.error(
            f"there is no benchmark {wanted.name}; known: {', '.join(known) or 'none yet'}"
        )
    sys.path.insert(0, str(HERE.parent))
    module = importlib.import_module(f"bench.{wanted.name}")
    print(f"· Running {wanted.name} … ", end="", file=sys.stderr, flush=True)
    began = time.perf_counter()
    result: dict[str, object] = module.run(wanted.quick)
    print(f"{time.perf_counter() - began:.1f} s", file=sys.stderr)
    plain = [(key, "not taken" if value is None else str(value)) for key, value in result.items()]
    show(wanted.name, module.table(result) if hasattr(module, "table") else plain)
    if wanted.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
