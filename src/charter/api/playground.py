"""The playground: what an edited rule would say; nothing is stored."""

from __future__ import annotations

import json

from fastapi import APIRouter

from charter.api import schemas as s
from charter.api.deps import PROBLEMS, CallerDep, RuntimeDep
from charter.services import playground

router = APIRouter(tags=["policies"], responses=PROBLEMS)


@router.post("/policies/playground")
def try_out(rt: RuntimeDep, caller: CallerDep, body: s.TrialIn) -> s.TrialOut:
    """Evaluate an edited file of the bundle in force on an input, beside the bundle as it is."""
    trial = playground.Trial(
        path=body.path,
        source=body.source,
        document=None if body.input is None else json.dumps(body.input),
        decision_id=body.decision,
    )
    return s.TrialOut.model_validate(playground.try_out(rt, caller, trial))
