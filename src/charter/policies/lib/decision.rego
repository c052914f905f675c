# The aggregator: it hears every rule of every package and merges them into one answer.
#
# A rule says a text or an object {id, message, ...}. Here each is completed from the rule's
# metadata (data.catalogue), from the approval settings and from the mode in the enforcement data,
# and the strongest effect wins: deny > require_approval > warn > allow. What rules in dry-run mode
# and exempted rules say goes to "shadow" and changes nothing.
#
# How strict a rule is depends on the environment of the project: see docs/policy-guide.md.
package charter

import rego.v1
import future.keywords.not

# Most requests meet no objection; for them nothing has to be merged.
decision := {
	"effect": "allow",
	"violations": [],
	"obligations": [],
	"shadow": [],
	"evaluated": data.charter.sources.evaluated,
} if count(data.charter.sources.spoken) == 0

decision := {
	"effect": effect,
	"violations": [v | some v in enforced],
	"obligations": [o | some o in obligations],
	"shadow": [v | some v in silent],
	"evaluated": data.charter.sources.evaluated,
} if count(data.charter.sources.spoken) > 0

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
heard contains spelled(understood.effect, understood.said) if {
	some s in data.charter.sources.spoken
	s.effect != "obligation"
	understood := understand(s)
}

understand(s) := {"effect": s.effect, "said": object.union({"id": s.rule}, s.said)} if {
	is_object(s.said)
} else := {"effect": s.effect, "said": {"id": s.rule, "message": s.said}} if {
	is_string(s.said)
} else := {"effect": "deny", "said": {
	"id": s.rule,
	"message": sprintf("%s said something that is neither a text nor an object.", [s.rule]),
}}

obligations contains s.said if {
	some s in data.charter.sources.spoken
	s.effect == "obligation"
}

# One violation in full. What the rule itself says goes before what its metadata says.
spelled(said_effect, said) := {
	"id": said.id,
	"effect": effect_here(said_effect, said.id, mode),
	"mode": mode,
	"message": object.get(said, "message", sprintf("%s applies.", [said.id])),
	"severity": severity,
	"fix": object.get(said, "fix", object.get(known, "fix", "Ask a platform admin about this rule.")),
	"controls": object.get(said, "controls", object.get(known, "controls", [])),
	"source": object.get(known, "source", ""),
	"approvers": object.get(said, "approvers", object.get(approval, "approvers", [])),
	"approvals_needed": object.get(said, "approvals_needed", object.get(approval, "approvals_needed", 1)),
	"requires": object.get(said, "requires", object.get(approval, "requires", [])),
	"grant_seconds": object.get(said, "grant_seconds", object.get(approval, "grant_seconds", null)),
} if {
	known := object.get(data.catalogue.rules, said.id, {})
	approval := approval_of(said_effect, said.id)
	severity := object.get(said, "severity", object.get(known, "severity", "medium"))
	mode := mode_of(said.id, said_effect, {severity, object.get(known, "severity", severity)})
}

approval_of(effect, id) := object.get(data.settings.approvals.rules, id, data.settings.approvals.fallback) if {
	effect == "require_approval"
} else := {}

# What the enforcement data says of the project's environment; nothing for one that it does not name.
strictness := found if {
	found := data.settings.enforcement.environments[input.context.environment]
	is_object(found)
} else := {}

# The nearest word counts: of this environment about the rule, of everywhere about the rule, of this
# environment about the severity. A rule of which nothing is said is enforced.
mode_of(id, effect, severities) := "enforce" if {
	nothing_set
} else := mode if {
	mode := strictness.rules[id]
} else := mode if {
	mode := data.settings.enforcement.rules[id]
} else := mode if {
	loosened(effect, severities)
	some severity in severities
	mode := strictness.severity[severity]
} else := "enforce"

nothing_set if {
	strictness == {}
	data.settings.enforcement.rules == {}
}

# Severities loosen what people are told, never whom they must ask, nothing about agents, and nothing
# critical: a rule that says less of itself than its metadata stays as strict as its metadata.
loosened(effect, severities) if {
	count(severities) == 1
	not "critical" in severities
	effect in {"deny", "warn"}
	not data.charter.facts.agent_involved
}

# A warning that this environment does not accept is a refusal.
effect_here(effect, id, mode) := "deny" if {
	effect == "warn"
	mode == "enforce"
	id in strictness.strict
} else := effect

# A rule in warn mode still speaks, and no longer stops anybody.
enforced contains v if {
	some v in heard
	v.mode == "enforce"
	not spared[v.id]
}

enforced contains object.union(v, {"effect": "warn"}) if {
	some v in heard
	v.mode == "warn"
	not spared[v.id]
}

silent contains v if {
	some v in heard
	v.mode == "dry-run"
}

silent contains object.union(v, {"exemption": spared[v.id]}) if {
	some v in heard
	v.mode in {"enforce", "warn"}
	spared[v.id]
}

# The exemption that spares a rule which spoke; the longest where several do. An exemption counts for
# its rule, in its whole scope, until it expires. Without a readable context.now none counts.
spared[v.id] := {"owner": longest[1], "reason": longest[2], "expires_at": longest[0]} if {
	data.settings.exemptions.exemptions != []
	some v in heard
	found := [[exemption.expires_at, object.get(exemption, "owner", ""), object.get(exemption, "reason", "")] |
		some exemption in data.settings.exemptions.exemptions
		exemption.rule == v.id
		data.charter.facts.now_ns < data.charter.facts.moment(exemption.expires_at)
		every name, value in exemption.scope {
			in_scope(name, value)
		}
	]
	count(found) > 0
	longest := max(found)
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
