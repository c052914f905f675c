# What the rules read, named once. Everything here is undefined, false or empty when the request does
# not carry it, so a rule about workspaces stays silent for any other action.
package charter.facts

import rego.v1
import future.keywords.not

action := object.get(input, ["action", "name"], "")

known_action if data.settings.actions.actions[action]

# Actions that put a workspace onto a provider: its whole spec is judged.
placing if action in {"workspace.create", "workspace.start", "workspace.resize"}

creating if action == "workspace.create"

workspace_or_agent if placing

workspace_or_agent if action == "agent.create"

subject_kind := object.get(input, ["subject", "kind"], "")

human if subject_kind == "human"

agent if subject_kind == "agent"

# Images are judged when they are used, and with a workspace whose request names them.
imaging if placing

imaging if action == "image.use"

# Images that can be read; a list with anything else in it is refused as a whole.
images_given := object.get(input, ["context", "images"], [])

images_readable if {
	is_array(images_given)
	every image in images_given {
		is_object(image)
		is_string(image.reference)
		is_object(object.get(image, "scan", {}))
	}
}

images := images_given if images_readable else := []

# The workspace as it is asked for, in the admission-review part of the document.
spec := input.request.object.spec

agent_workspace if spec.agent == true

human_workspace if {
	placing
	not agent_workspace
}

workspace_kind := "agent" if agent_workspace

workspace_kind := "human" if human_workspace

agent_involved if agent

agent_involved if agent_workspace

agent_involved if action == "agent.create"

cpu := object.get(spec, ["resources", "cpu"], 0)

memory_mib := object.get(spec, ["resources", "memoryMib"], 0)

disk_mib := object.get(spec, ["resources", "diskMib"], 0)

gpu := object.get(spec, ["resources", "gpu"], 0)

template := object.get(input, ["context", "template"], {})

quota := object.get(input, ["context", "quota"], {})

# Destinations asked for; none when the list is missing or is no list (other rules speak of that).
allowlist := found if {
	found := spec.network.egressAllowlist
	is_array(found)
} else := []

# No list of capabilities means that nothing is enforced.
capabilities := object.get(input, ["context", "provider", "capabilities"], [])

# The limits of the asking agent's tier, and of the tier the workspace is asked for with.
tier := data.settings.tiers[input.subject.tier]

workspace_tier := data.settings.tiers[spec.tier]

asked_tier := object.get(input, ["resource", "spec", "tier"], "")

repositories := object.get(input, ["resource", "spec", "repositories"], [])

data_class := class if {
	class := object.get(input, ["resource", "data_class"], null)
	is_string(class)
} else := ""

labels := found if {
	found := object.get(input, ["resource", "labels"], null)
	is_object(found)
} else := {}

label(name) := object.get(labels, name, "")

justified if {
	reason := object.get(input, ["context", "justification"], null)
	is_string(reason)
	trim_space(reason) != ""
}

# Seconds of a day.
day := 86400

minutes(seconds) := sprintf("%d minutes", [floor(seconds / 60)])

now_ns := moment(input.context.now)

# A moment in nanoseconds; undefined for what is not RFC 3339 with a zone.
moment(text) := time.parse_rfc3339_ns(text) if {
	is_string(text)
	regex.match(`^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`, text)
}

# Amounts for people: whole GiB where they are whole, each dimension with its noun.
size(mib) := sprintf("%d GiB", [mib / 1024]) if mib % 1024 == 0

size(mib) := sprintf("%d MiB", [mib]) if mib % 1024 != 0

amount("memory_mib", number) := sprintf("%s of memory", [size(number)])

amount("disk_mib", number) := sprintf("%s of disk", [size(number)])

amount("vcpu", number) := sprintf("%d vCPU", [number])

amount("gpu", number) := sprintf("%d GPU", [number])

amount("workspaces", number) := sprintf("%d workspaces", [number])
