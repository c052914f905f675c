# What the rules about Kubernetes objects read, named once. The Gatekeeper export puts a module with
# the same names in the place of this one, so a rule that keeps to them can be exported.
package charter.kubernetes

import rego.v1
import future.keywords.not

settings := data.settings.kubernetes

action := object.get(input, ["action", "name"], "")

spec := object.get(input, ["resource", "spec"], {})

# What is judged: what is made, and what is changed. Labels and status of an object that runs may
# change, and what is being deleted may end, whatever the rules have become since it was made.
admitting if {
	action in {"kubernetes.create", "kubernetes.update"}
	new_or_changed
}

new_or_changed if action == "kubernetes.create"

new_or_changed if {
	spec.changed == true
	spec.deleting == false
}

connecting if action == "kubernetes.connect"

agents if {
	admitting
	spec.agent == true
}

people if {
	admitting
	not spec.agent == true
}

pods := object.get(spec, "pods", [])

claims := object.get(spec, "claims", [])

containers := [c | some pod in pods; some c in pod.containers]

problems := object.get(spec, "problems", [])

kind := object.get(spec, "kind", "")

fact(name) := object.get(input, ["resource", name], "")

egress_given if is_array(spec.egress_allowlist)

# Controllers make pods for objects that were judged themselves; the API server vouches for who asks.
made_by_controller if {
	object.get(input, ["subject", "kind"], "") == "service"
	some owner in object.get(input, ["request", "object", "metadata", "ownerReferences"], [])
	owner.controller == true
}

asked_by_agent if object.get(input, ["subject", "kind"], "") == "agent"

cpus(milli) := format_int(milli / 1000, 10) if milli % 1000 == 0

cpus(milli) := sprintf("%dm", [milli]) if milli % 1000 != 0

size(mib) := sprintf("%d GiB", [mib / 1024]) if mib % 1024 == 0

size(mib) := sprintf("%d MiB", [mib]) if mib % 1024 != 0
