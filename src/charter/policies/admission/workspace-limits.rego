# How large one workspace may be, for everybody. The numbers stand in data/limits.json and
# data/sizes.json; quotas over several workspaces are counted by Charter itself.
package admission.workspace_limits

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Resources are positive whole numbers"
# custom:
#   id: admission/resources-invalid
#   severity: high
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Give CPU, memory and disk as whole numbers above zero; GPUs may be zero."
deny contains {
	"id": "admission/resources-invalid",
	"message": sprintf("%v is not a usable amount of %v.", [value, name]),
} if {
	facts.placing
	some name, least in {"cpu": 1, "memoryMib": 1, "diskMib": 1, "gpu": 0}
	value := object.get(facts.spec.resources, name, null)
	not whole(value, least)
}

# METADATA
# title: "A workspace has a known size"
# custom:
#   id: admission/size-unknown
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Choose a size that exists: charter size list."
deny contains {
	"id": "admission/size-unknown",
	"message": sprintf("There is no size %v.", [size_name]),
} if {
	facts.placing
	size_name != ""
	not data.settings.sizes.sizes[size_name]
}

# METADATA
# title: "Large sizes need approval"
# custom:
#   id: admission/size-needs-approval
#   severity: medium
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Ask for approval, or choose a smaller size."
require_approval contains {
	"id": "admission/size-needs-approval",
	"message": sprintf("The size %v needs approval.", [size_name]),
} if {
	facts.placing
	data.settings.sizes.sizes[size_name].needs_approval
	not gpu_asked
}

# METADATA
# title: "Many CPUs need approval"
# custom:
#   id: admission/cpu-needs-approval
#   severity: medium
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Ask for approval, or take fewer CPUs."
require_approval contains {
	"id": "admission/cpu-needs-approval",
	"message": sprintf("%v vCPU are more than the %v that need no approval.", [facts.cpu, data.settings.limits.cpu_without_approval]),
} if {
	facts.placing
	facts.cpu > data.settings.limits.cpu_without_approval
	facts.cpu <= data.settings.limits.cpu_without_justification
}

# METADATA
# title: "Very many CPUs need a business justification"
# custom:
#   id: admission/cpu-needs-justification
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Ask the team lead for approval and say what the work needs them for, or take fewer CPUs."
require_approval contains {
	"id": "admission/cpu-needs-justification",
	"message": sprintf("%v vCPU are more than %v and need the team lead's approval and a business justification.", [facts.cpu, data.settings.limits.cpu_without_justification]),
} if {
	facts.placing
	facts.cpu > data.settings.limits.cpu_without_justification
}

# METADATA
# title: "CPUs of one workspace are limited"
# custom:
#   id: admission/cpu-above-maximum
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take fewer CPUs, or split the work."
deny contains {
	"id": "admission/cpu-above-maximum",
	"message": sprintf("%v vCPU are more than the %v that one workspace can have.", [facts.cpu, data.settings.limits.cpu_max]),
} if {
	facts.placing
	facts.cpu > data.settings.limits.cpu_max
}

# METADATA
# title: "Much memory needs approval"
# custom:
#   id: admission/memory-needs-approval
#   severity: medium
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Ask for approval, or take less memory."
require_approval contains {
	"id": "admission/memory-needs-approval",
	"message": sprintf("%s of memory are more than the %s that need no approval.", [facts.size(facts.memory_mib), facts.size(data.settings.limits.memory_without_approval_mib)]),
} if {
	facts.placing
	facts.memory_mib > data.settings.limits.memory_without_approval_mib
}

# METADATA
# title: "Memory of one workspace is limited"
# custom:
#   id: admission/memory-above-maximum
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take less memory, or split the work."
deny contains {
	"id": "admission/memory-above-maximum",
	"message": sprintf("%s of memory are more than the %s that one workspace can have.", [facts.size(facts.memory_mib), facts.size(data.settings.limits.memory_max_mib)]),
} if {
	facts.placing
	facts.memory_mib > data.settings.limits.memory_max_mib
}

# METADATA
# title: "GPUs need approval, a justification and an end"
# custom:
#   id: admission/gpu-needs-approval
#   severity: high
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Ask for approval and say what the GPU is for; the allocation ends by itself."
require_approval contains {
	"id": "admission/gpu-needs-approval",
	"message": sprintf("%v GPU need approval and a justification, and are given for a limited time.", [facts.gpu]),
} if {
	facts.placing
	facts.human_workspace
	facts.gpu > 0
}

# METADATA
# title: "GPUs of one workspace are limited"
# custom:
#   id: admission/gpu-above-maximum
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take fewer GPUs."
deny contains {
	"id": "admission/gpu-above-maximum",
	"message": sprintf("%v GPU are more than the %v that one workspace can have.", [facts.gpu, data.settings.limits.gpu_max]),
} if {
	facts.placing
	facts.gpu > data.settings.limits.gpu_max
}

# METADATA
# title: "Storage of one workspace is limited"
# custom:
#   id: admission/disk-above-maximum
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take less storage; keep build outputs in an artefact repository."
deny contains {
	"id": "admission/disk-above-maximum",
	"message": sprintf("%s of storage are more than the %s that one workspace can have.", [facts.size(facts.disk_mib), facts.size(data.settings.limits.disk_max_mib)]),
} if {
	facts.placing
	facts.disk_mib > data.settings.limits.disk_max_mib
}

# METADATA
# title: "Very little storage is pointed out"
# custom:
#   id: admission/disk-below-minimum
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take at least the smallest size's storage if builds will run there."
warn contains {
	"id": "admission/disk-below-minimum",
	"message": sprintf("%s of storage are less than the %s that usual work needs.", [facts.size(facts.disk_mib), facts.size(data.settings.limits.disk_min_mib)]),
} if {
	facts.creating
	facts.human_workspace
	facts.disk_mib < data.settings.limits.disk_min_mib
}

# METADATA
# title: "One person's storage is limited"
# custom:
#   id: admission/user-storage-needs-approval
#   severity: medium
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Delete workspaces that you no longer need, or ask for approval."
require_approval contains {
	"id": "admission/user-storage-needs-approval",
	"message": sprintf("This would make %s of storage for one person, above the %s that need no approval.", [facts.size(total), facts.size(data.settings.limits.user_disk_without_approval_mib)]),
} if {
	facts.action in {"workspace.create", "workspace.resize"}
	facts.human_workspace
	some line in object.get(facts.quota, "lines", [])
	startswith(line.scope, "user:")
	total := line.used.disk_mib + facts.quota.wanted.disk_mib
	total > data.settings.limits.user_disk_without_approval_mib
}

# METADATA
# title: "A quota that is nearly used up is pointed out"
# custom:
#   id: admission/quota-nearly-used
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Delete what is no longer needed, or ask for a larger quota in good time."
warn contains {
	"id": "admission/quota-nearly-used",
	"message": sprintf("After this, %v of %v are in use: %s.", [facts.amount(dimension, used), facts.amount(dimension, limit), object.get(line, "label", line.scope)]),
} if {
	facts.action in {"workspace.create", "workspace.resize"}
	some dimension, wanted in input.context.quota.wanted
	wanted > 0
	some line in input.context.quota.lines
	limit := line.limit[dimension]
	limit > 0
	used := line.used[dimension] + wanted
	used <= limit
	used * 100 >= limit * data.settings.limits.quota_warning_percent
}

# METADATA
# title: "Names follow the convention"
# custom:
#   id: admission/name-convention
#   severity: low
#   controls: ["ISO27001 A.5.9"]
#   owner: platform-team
#   fix: "Use lower-case words with hyphens, such as payments-api."
warn contains {
	"id": "admission/name-convention",
	"message": sprintf("The name %v does not follow the convention.", [name]),
} if {
	facts.creating
	name := object.get(input.request.object, ["metadata", "name"], "")
	is_string(name)
	not regex.match(data.settings.labels.name_pattern, name)
}

# METADATA
# title: "Workspaces say whom they belong to"
# custom:
#   id: admission/labels-missing
#   severity: low
#   controls: ["SOC2 CC1.3", "ISO27001 A.5.9"]
#   owner: platform-team
#   fix: "Name the team and the project, so that cost and findings reach somebody."
warn contains {
	"id": "admission/labels-missing",
	"message": sprintf("The workspace does not name its %s.", [concat(", ", missing)]),
} if {
	facts.creating
	missing := [name |
		some name in data.settings.labels.mandatory
		object.get(input.resource, name, null) in {null, ""}
		facts.label(name) == ""
	]
	count(missing) > 0
}

# Then the manager's yes to the GPU is the yes to its size.
gpu_asked if {
	facts.human_workspace
	facts.gpu > 0
}

size_name := object.get(facts.spec, "size", "")

whole(value, least) if {
	is_number(value)
	value >= least
	floor(value) == value
}
