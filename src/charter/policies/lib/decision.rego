# The aggregator: it hears every rule of every package and merges them into one answer.
#
# A rule says a text or an object {id, message, ...}. Here each is completed from the rule's
# metadata (data.catalogue), from the approval settings and from the mode in the enforcement data,
# and the strongest effect wins: deny > require_approval > warn > allow. What rules in dry-run mode
# and exempted rules say goes to "shadow" and changes nothing.
package charter

import rego.v1
import future.keywords.not

decision := {
	"effect": effect,
	"violations": [v | some v in enforced],
	"obligations": [o | some o in obligations],
	"shadow": [v | some v in silent],
	"evaluated": data.charter.sources.evaluated,
}

default effect := "allow"

effect := "deny" if {
	some v in enforced
	v.effect == "deny"
} else := "require_approval" if {
	some v in enforced
	v.effect == "require_approval"
} else := "warn" if {
	some v in enforced
	v.effect == "warn"
}

# Texts, objects, and anything else (which can only be a mistake, and counts as a deny).
heard contains spelled(s.effect, object.union({"id": s.rule}, s.said)) if {
	some s in data.charter.sources.spoken
	s.effect != "obligation"
	is_object(s.said)
}

heard contains spelled(s.effect, {"id": s.rule, "message": s.said}) if {
	some s in data.charter.sources.spoken
	s.effect != "obligation"
	is_string(s.said)
}

heard contains spelled("deny", {"id": s.rule, "message": sprintf("%s said something that is neither a text nor an object.", [s.rule])}) if {
	some s in data.charter.sources.spoken
	s.effect != "obligation"
	not is_string(s.said)
	not is_object(s.said)
}

obligations contains s.said if {
	some s in data.charter.sources.spoken
	s.effect == "obligation"
}

# One violation in full. What the rule itself says goes before what its metadata says.
spelled(effect, said) := {
	"id": said.id,
	"effect": effect,
	"mode": mode_of(said.id),
	"message": object.get(said, "message", sprintf("%s applies.", [said.id])),
	"severity": object.get(said, "severity", object.get(known, "severity", "medium")),
	"fix": object.get(said, "fix", object.get(known, "fix", "Ask a platform admin about this rule.")),
	"controls": object.get(said, "controls", object.get(known, "controls", [])),
	"source": object.get(known, "source", ""),
	"approvers": object.get(said, "approvers", object.get(approval, "approvers", [])),
	"approvals_needed": object.get(said, "approvals_needed", object.get(approval, "approvals_needed", 1)),
	"requires": object.get(said, "requires", object.get(approval, "requires", [])),
	"grant_seconds": object.get(said, "grant_seconds", object.get(approval, "grant_seconds", null)),
} if {
	known := object.get(data.catalogue.rules, said.id, {})
	approval := approval_of(effect, said.id)
}

approval_of("require_approval", id) := object.get(
	data.settings.approvals.rules, id,
	data.settings.approvals.fallback,
)

approval_of(effect, _) := {} if effect != "require_approval"

mode_of(id) := object.get(data.settings.enforcement.rules, id, "enforce")

# A rule in warn mode still speaks, and no longer stops anybody.
enforced contains v if {
	some v in heard
	v.mode == "enforce"
	not exempted(v.id)
}

enforced contains object.union(v, {"effect": "warn"}) if {
	some v in heard
	v.mode == "warn"
	not exempted(v.id)
}

silent contains v if {
	some v in heard
	v.mode == "dry-run"
}

silent contains v if {
	some v in heard
	v.mode in {"enforce", "warn"}
	exempted(v.id)
}

# An exemption counts for its rule, in its whole scope, until it expires. Without a readable
# context.now none counts.
exempted(id) if {
	some exemption in data.settings.exemptions.exemptions
	exemption.rule == id
	data.charter.facts.now_ns < data.charter.facts.moment(exemption.expires_at)
	every name, value in exemption.scope {
		in_scope(name, value)
	}
}

in_scope("_why", _) if true

in_scope("subject", value) if input.subject.id == value

in_scope("owner", value) if input.resource.owner == value

in_scope("team", value) if input.resource.team == value

in_scope("project", value) if input.resource.project == value

in_scope("workspace", value) if {
	input.resource.kind == "workspace"
	input.resource.id == value
}

in_scope("template", value) if input.request.object.spec.template.name == value

in_scope("action", value) if input.action.name == value
