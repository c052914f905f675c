# Who may come in, from where, and how sure Charter must be that it is them. Signing in itself is
# Charter's; here is what every request is held against. The networks stand in data/access.json (an
# empty list means everywhere), what privileged actions ask for in data/step_up.json. Requests from other
# networks are refused already at the door, reads too; here the refusal is part of the decision.
package admission.identity

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Requests come from known networks"
# custom:
#   id: access/network-not-allowed
#   severity: high
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.20", "PCI-DSS 1.4.1"]
#   owner: security-team
#   fix: "Connect through the company network or its VPN."
deny contains {
	"id": "access/network-not-allowed",
	"message": "The request does not come from a network that the policy lets in.",
} if {
	comes_over_a_network
	not object.get(input, ["subject", "networks"], "") in {"set-aside", "not-asked"}
	some networks in applying
	not inside(networks, address)
}

address := object.get(input, ["subject", "ip"], "")

# Lists are set aside by an operator on the machine itself; they are not asked where nobody's request
# comes in: in the question why somebody may do something, and for what an approval carries out.
# What an enforcement point asks about comes to that point, not to Charter; it is judged where the point
# says from where. The point itself is held against the list for services when it asks.
comes_over_a_network if not asked_by_a_point

comes_over_a_network if is_string(object.get(input, ["subject", "ip"], null))

asked_by_a_point if is_object(object.get(input, ["context", "enforcement_point"], null))

lists := data.settings.access.networks

# Every list about this subject that is not empty.
applying contains networks if {
	networks := lists.organisation
	count(networks) > 0
}

applying contains networks if {
	networks := lists.kinds[facts.subject_kind]
	count(networks) > 0
}

applying contains networks if {
	some role in object.get(input, ["subject", "roles"], [])
	some name in {role, concat("", ["own/", role])}
	networks := lists.roles[name]
	count(networks) > 0
}

# A plain list, as older bundles have it, is about people.
applying contains lists if {
	is_array(lists)
	facts.human
	count(lists) > 0
}

inside(networks, from_where) if {
	net.cidr_is_valid(sprintf("%s/0", [from_where]))
	some network in networks
	net.cidr_contains(network, from_where)
}

# METADATA
# title: "Before privileged actions people show anew that it is them"
# custom:
#   id: access/step-up
#   severity: high
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.5", "PCI-DSS 8.4.2", "HIPAA 164.312(d)"]
#   owner: security-team
#   fix: "Confirm that it is you: the portal asks for it, the command line does with charter login --step-up."
deny contains {
	"id": "access/step-up",
	"message": missing.message,
	"fix": missing.fix,
} if {
	some missing in missing_proofs
}

confirm := "Confirm that it is you: the portal asks for it, and the command line does with charter login --step-up."

missing_proofs contains {
	"message": sprintf("%s asks for a sign-in no older than %s.", [facts.action, facts.minutes(wanted.max_age_seconds)]),
	"fix": confirm,
} if {
	held_against
	not recent
}

missing_proofs contains {
	"message": sprintf("%s asks for a second factor, and none was shown at the sign-in.", [facts.action]),
	"fix": confirm,
} if {
	held_against
	second_factor_asked
	object.get(input, ["subject", "mfa"], false) != true
}

missing_proofs contains {
	"message": sprintf("%s is not for personal tokens.", [facts.action]),
	"fix": "Do it in the portal.",
} if {
	by_token
	wanted.tokens == "never"
}

# Asked of people who act themselves. Whoever is carried out after an approval was asked when they
# asked for it, and nobody acts in the question why somebody may do something.
wanted := entry if {
	entry := data.settings.step_up.actions[facts.action]
	facts.human
	not object.get(input, ["subject", "via"], "") in {"", "approval", "why"}
	concerned(entry)
}

by_token if input.subject.via == "token"

held_against if {
	wanted
	not by_token
}

held_against if {
	by_token
	wanted.tokens == "fresh"
}

# Some votes only: those on requests under one of the listed rules. A vote that does not say under
# which is held against the list as if it were.
concerned(entry) if not entry.only_rules

concerned(entry) if {
	some rule in entry.only_rules
	rule in voted_on
}

concerned(entry) if {
	entry.only_rules
	not voted_on
}

voted_on := rules if {
	rules := object.get(input, ["resource", "spec", "rules"], null)
	is_array(rules)
}

recent if {
	shown := facts.moment(input.context.session.authenticated_at)
	facts.now_ns <= shown + (wanted.max_age_seconds * 1000000000)
}

second_factor_asked if wanted.mfa == "always"

second_factor_asked if {
	wanted.mfa == "with-passkey"
	object.get(input, ["subject", "has_passkey"], false) == true
}
