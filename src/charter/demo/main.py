"""`charter demo`: the whole story, on real parts, one line a step.

People and an agent ask for things; policy decides; the kernel holds them to it; the trail proves
it. The exit code is 1 when anything came out differently from what the story says.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from charter.demo import agents, evidence, people
from charter.demo.stage import DifferentlyError, Stage, stage

_PATIENCE: Final = "CHARTER_DEMO_PATIENCE"  # a factor on every time limit, for slow machines


def run() -> int:
    """Play the story; 0 when everything came out as it says."""
    patience = float(os.environ.get(_PATIENCE, "1"))
    began = time.monotonic()
    sys.stdout.write("Charter plays its story on a throw-away instance. Nothing is pretended.\n")
    try:
        with stage(patience) as (play, link):
            _play(play, link)
            failures, lines = play.failures, play.lines
    except DifferentlyError as error:
        sys.stderr.write(f"error: the demo could not go on: {error}\n")
        return 1
    seconds = time.monotonic() - began
    if failures:
        sys.stderr.write(f"error: {len(failures)} of {lines} steps came out differently:\n")
        sys.stderr.writelines(f"  {failure}\n" for failure in failures)
        return 1
    sys.stdout.write(f"\nAll {lines} steps came out as the story says, in {seconds:.0f} s.\n")
    return 0


def _play(play: Stage, link: str) -> None:
    cast = people.arrive(play, link)
    people.work(play, cast)
    people.ask_for_more(play, cast)
    agents.work(play, cast)
    evidence.idle(play, cast)
    evidence.trail(play, cast)
