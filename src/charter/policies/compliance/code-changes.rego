# Code on its way into a protected branch: somebody else looked, the tests pass, the commits are signed.
# Asked with code.merge, code.push and code.review by the Git host's checks and the pre-receive hook. The
# numbers stand in data/code.json.
package compliance.code_changes

import rego.v1

import data.charter.facts

# METADATA
# title: "Every change is reviewed by a peer"
# custom:
#   id: code/review-missing
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.28", "PCI-DSS 6.2.3"]
#   owner: platform-team
#   fix: "Ask a colleague who did not write the change for a review."
deny contains {
	"id": "code/review-missing",
	"message": sprintf("%v people other than the author have approved the change; %v are needed.", [count(reviewers), needed]),
} if {
	merging
	count(reviewers) < needed
}

# METADATA
# title: "Tests pass before the merge"
# custom:
#   id: code/tests-not-passed
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.29", "PCI-DSS 6.2.4"]
#   owner: platform-team
#   fix: "Read the failing tests, correct the change and let them run again."
deny contains {
	"id": "code/tests-not-passed",
	"message": sprintf("The tests say %v, not passed.", [object.get(change, "tests", "nothing")]),
} if {
	merging
	object.get(change, "tests", "") != "passed"
}

# METADATA
# title: "Commits are signed"
# custom:
#   id: code/unsigned-commits
#   severity: medium
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.28"]
#   owner: security-team
#   fix: "Sign the commits (git commit -S) and push again."
deny contains {
	"id": "code/unsigned-commits",
	"message": "The change holds commits without a valid signature.",
} if {
	facts.action in {"code.merge", "code.push"}
	object.get(change, "signed", false) != true
}

# METADATA
# title: "The main branch is protected"
# custom:
#   id: code/branch-not-protected
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.4"]
#   owner: platform-team
#   fix: "Switch branch protection on: no direct pushes, reviews and checks required."
deny contains {
	"id": "code/branch-not-protected",
	"message": sprintf("The branch %v is not protected.", [change.target]),
} if {
	merging
	object.get(change, "protected", false) != true
}

# METADATA
# title: "Nobody pushes to a protected branch past the review"
# custom:
#   id: code/direct-push
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.4"]
#   owner: platform-team
#   fix: "Push to a branch of your own and open a pull request."
deny contains {
	"id": "code/direct-push",
	"message": sprintf("Changes of %v go through pull requests.", [change.target]),
} if {
	facts.action == "code.push"
	change.target in data.settings.code.protected_branches
}

# METADATA
# title: "Secrets do not get into repositories"
# custom:
#   id: code/secret-found
#   severity: critical
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.4", "PCI-DSS 8.6.2"]
#   owner: security-team
#   fix: "Take the secret out of the history, treat it as leaked and rotate it."
deny contains {
	"id": "code/secret-found",
	"message": sprintf("The scan found %v secrets in the change.", [found]),
} if {
	facts.action in {"code.merge", "code.push"}
	found := object.get(change, "secrets_found", 0)
	found > 0
}

# METADATA
# title: "Code and dependencies are scanned"
# custom:
#   id: code/scan-not-passed
#   severity: high
#   controls: ["SOC2 CC7.1", "ISO27001 A.8.28", "PCI-DSS 6.3.2"]
#   owner: security-team
#   fix: "Read the scanner's report and correct what it found."
deny contains {
	"id": "code/scan-not-passed",
	"message": sprintf("The check %v has not passed.", [scan]),
} if {
	merging
	some scan in data.settings.code.scans
	object.get(change, ["scans", scan], "") != "passed"
}

# METADATA
# title: "Public endpoints are documented"
# custom:
#   id: code/api-not-documented
#   severity: medium
#   controls: ["ISO27001 A.5.37", "SOC2 CC2.3"]
#   owner: platform-team
#   fix: "Describe the endpoint in the API documentation that the change brings along."
deny contains {
	"id": "code/api-not-documented",
	"message": sprintf("The public endpoint %v has no documentation.", [endpoint]),
} if {
	merging
	some endpoint in object.get(change, "undocumented_endpoints", [])
}

# METADATA
# title: "A change says what it does"
# custom:
#   id: code/no-description
#   severity: low
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.32"]
#   owner: platform-team
#   fix: "Say in the pull request what changes and why."
warn contains {
	"id": "code/no-description",
	"message": "The change has no description.",
} if {
	merging
	object.get(change, "description", "") in {"", null}
}

# METADATA
# title: "Nobody reviews their own change"
# custom:
#   id: code/reviews-own
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.5.3"]
#   owner: security-team
#   fix: "Ask a colleague."
deny contains {
	"id": "code/reviews-own",
	"message": "Who wrote a change does not approve it.",
} if {
	facts.action == "code.review"
	input.resource.owner == input.subject.id
}

merging if facts.action == "code.merge"

change := object.get(input, ["context", "change"], {})

# People other than the author; what an agent says about code counts for nothing here.
reviewers := {who.id |
	some who in object.get(change, "reviewers", [])
	who.kind == "human"
	who.id != change.author
}

needed := object.get(data.settings.code.reviews, object.get(input, ["context", "environment"], "development"), 1)
