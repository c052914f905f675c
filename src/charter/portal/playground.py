"""The playground: a rule and an input to edit, and what the rules say before and after."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from charter.core.kernel.errors import CharterError
from charter.portal.render import pretty
from charter.portal.visit import PortalRoute, Signed, visit_of
from charter.services import decisions, playground

router = APIRouter(route_class=PortalRoute, dependencies=[Depends(visit_of)])

_RECENT: Final = 12
_NEW_RULE: Final = """\
package admission.my_rule

import rego.v1
import future.keywords.not

# METADATA
# title: What the rule is for
# custom:
#   id: admission/my-rule
#   severity: medium
#   fix: What to do instead.
deny contains {
	"id": "admission/my-rule",
	"message": "Workspaces of this size are not allowed here.",
} if {
\tinput.action.name == "workspace.create"
\tinput.request.object.spec.resources.cpu > 16
}
"""
_NEW_PATH: Final = "admission/my-rule.rego"


@router.get("/policies/playground")
def show_playground(visit: Signed) -> Response:
    """The file and the input that were asked for, ready to be edited."""
    asked = visit.asked("file", "decision")
    files = playground.list_files(visit.rt, visit.caller)
    path = asked["file"] or _NEW_PATH
    source = playground.get_file(visit.rt, visit.caller, path) if path in files else _NEW_RULE
    decision_id, document = asked["decision"], ""
    recent = decisions.list_page(visit.rt, visit.caller, limit=_RECENT)["items"]
    if decision_id is None and recent:
        about = decisions.list_page(visit.rt, visit.caller, action="workspace.create", limit=1)
        decision_id = (about["items"] or recent)[0]["id"]
    if decision_id is not None:
        found = decisions.get(visit.rt, visit.caller, decision_id)
        document = pretty(found["facts"]["document"])
    return _page(visit, files, recent, path, source, decision_id, document)


@router.post("/policies/playground")
def try_out(visit: Signed) -> Response:
    """Run it; what was typed stays as it is."""
    form = visit.form
    path = form.get("path", "").strip()
    source, document = form.get("source", ""), form.get("document", "")
    decision_id = form.get("decision", "").strip() or None
    result: dict[str, Any] | None = None
    error: CharterError | None = None
    try:
        result = playground.try_out(
            visit.rt,
            visit.caller,
            playground.Trial(path or None, source, document, decision_id),
        )
    except CharterError as problem:
        error = problem
    if visit.partial:
        return visit.page("playground.html", {"result": result, "error": error}, block="result")
    files = playground.list_files(visit.rt, visit.caller)
    recent = decisions.list_page(visit.rt, visit.caller, limit=_RECENT)["items"]
    return _page(
        visit, files, recent, path, source, decision_id, document, result=result, error=error
    )


def _page(
    visit: Signed,
    files: list[str],
    recent: list[dict[str, Any]],
    path: str,
    source: str,
    decision_id: str | None,
    document: str,
    *,
    result: dict[str, Any] | None = None,
    error: CharterError | None = None,
) -> Response:
    return visit.page(
        "playground.html",
        {
            "files": files,
            "recent": recent,
            "path": path,
            "source": source,
            "decision_id": decision_id,
            "document": document,
            "result": result,
            "error": error,
        },
        status=200 if error is None else error.status,
    )
