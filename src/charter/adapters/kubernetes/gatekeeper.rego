# What exported rules read, from an admission request as Gatekeeper gives it. The names and meanings
# are those of Charter's lib/kubernetes.rego; what an object alone cannot answer has no name here.
package lib.kubernetes

settings := input.parameters

object_ := object.get(input.review, "object", {})

old := object.get(input.review, "oldObject", null)

group := object.get(input.review, ["kind", "group"], "")

kind := object.get(input.review, ["kind", "kind"], "")

operation := object.get(input.review, "operation", "CREATE")

admitting if operation == "CREATE"

admitting if operation == ""

admitting if {
	operation == "UPDATE"
	object.get(object_, ["metadata", "deletionTimestamp"], null) == null
	changed
}

changed if not is_object(old)

changed if what(object_) != what(old)

what(value) := [pod_at(value), claim_specs(value), object.get(value, ["metadata", "labels"], {}), object.get(value, ["metadata", "annotations"], {})]

# --- where the pod stands ---------------------------------------------------------------------
template := ["spec", "template", "spec"]

paths := {
	"Pod": ["spec"], "PodTemplate": ["template", "spec"], "ReplicationController": template,
	"Deployment": template, "StatefulSet": template, "DaemonSet": template, "ReplicaSet": template, "Job": template,
	"CronJob": ["spec", "jobTemplate", "spec", "template", "spec"],
	"Sandbox": ["spec", "podTemplate", "spec"], "SandboxTemplate": ["spec", "podTemplate", "spec"],
}

pod_at(value) := object.get(value, paths[kind], null) if paths[kind]

pod_at(_) := null if not paths[kind]

spec := pod_at(object_)

list(value, key) := found if {
	found := object.get(value, key, [])
	is_array(found)
} else := []

pods := [pod] if is_object(spec)

pods := [] if not is_object(spec)

containers := own if is_object(spec)

containers := [] if not is_object(spec)

own := array.concat(array.concat([shaped(c, "main") | some c in list(spec, "containers")], [shaped(c, init_role(c)) | some c in list(spec, "initContainers")]), [shaped(c, "ephemeral") | some c in list(spec, "ephemeralContainers")])

init_role(c) := "sidecar" if object.get(c, "restartPolicy", "") == "Always"

init_role(c) := "init" if object.get(c, "restartPolicy", "") != "Always"

shaped(c, role) := object.union(image(object.get(c, "image", "")), {
	"name": object.get(c, "name", ""),
	"role": role,
	"privileged": privileged(c),
	"capabilities": [trim_prefix(upper(a), "CAP_") | some a in list(object.get(c, ["securityContext", "capabilities"], {}), "add")],
	"host_ports": count([p | some p in list(c, "ports"); object.get(p, "hostPort", 0) > 0]),
	"limits": amounts(object.get(c, ["resources", "limits"], {})),
	"requests": amounts(object.get(c, ["resources", "requests"], {})),
	"secret_variables": [v.name | some v in list(c, "env"); secret(v)],
})

privileged(c) if object.get(c, ["securityContext", "privileged"], false) == true

else if object.get(c, ["securityContext", "windowsOptions", "hostProcess"], false) == true

else if object.get(spec, ["securityContext", "windowsOptions", "hostProcess"], false) == true

else := false

secret(v) if {
	secret_value(object.get(v, "value", ""))
	regex.match(`(?i)(passw(or)?d|passphrase|secret|token|api_?key|access_?key|private_?key|credential)`, v.name)
	not regex.match(`(?i)(_file|_path|_name|_url|_dir)$`, v.name)
}

secret(v) if {
	secret_value(object.get(v, "value", ""))
	regex.match(`AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abps]-[A-Za-z0-9-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.`, v.value)
}

secret_value(value) if {
	value != ""
	not regex.match(`^\$\([A-Za-z_][A-Za-z0-9_]*\)$`, value)
}

# --- images -----------------------------------------------------------------------------------
image(text) := {"image": text, "repository": repository(name), "tag": tag, "pinned": pinned} if {
	digest := split(text, "@")
	pinned := count(digest) == 2
	last := regex.find_n(`:[A-Za-z0-9_][A-Za-z0-9_.-]*$`, digest[0], 1)
	name := trim_suffix(digest[0], concat("", last))
	tag := tag_of(last, pinned)
}

tag_of(last, _) := trim_prefix(last[0], ":") if count(last) == 1

tag_of(last, pinned) := "" if {
	count(last) == 0
	pinned
}

tag_of(last, pinned) := "latest" if {
	count(last) == 0
	not pinned
}

repository(name) := concat("/", ["docker.io/library", name]) if not contains(name, "/")

repository(name) := concat("/", array.concat([lower(parts[0])], array.slice(parts, 1, count(parts)))) if {
	contains(name, "/")
	parts := split(name, "/")
	registry(parts[0])
}

repository(name) := concat("/", ["docker.io", name]) if {
	contains(name, "/")
	not registry(split(name, "/")[0])
}

registry(first) if regex.match(`[.:]`, first)

registry("localhost")

# --- amounts ----------------------------------------------------------------------------------
amounts(given) := object.union_n([
	{"cpu_milli": n | n := whole(quantity(given.cpu) * 1000)},
	{"memory_mib": n | n := whole(quantity(given.memory) / 1048576)},
	{"gpu": sum([whole(quantity(n)) | some key, n in given; contains(lower(key), "gpu")])},
])

factors := {
	"": 1, "n": 0.000000001, "u": 0.000001, "m": 0.001, "k": 1000, "M": 1000000, "G": 1000000000, "T": 1000000000000,
	"P": 1000000000000000, "E": 1000000000000000000, "Ki": 1024, "Mi": 1048576, "Gi": 1073741824, "Ti": 1099511627776,
	"Pi": 1125899906842624, "Ei": 1152921504606846976,
}

quantity(value) := value if is_number(value)

quantity(value) := to_number(found[1]) * factors[found[2]] if {
	is_string(value)
	some found in regex.find_all_string_submatch_n(`^\+?(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?)$`, value, 1)
}

quantity(value) := to_number(lower(value)) if {
	is_string(value)
	regex.match(`^\d+(\.\d+)?[eE][+-]?\d+$`, value)
}

# Numbers here are decimal approximations; a millionth of a unit is not worth another unit.
whole(number) := ceil(round(number * 1000000) / 1000000)

# --- pods and claims --------------------------------------------------------------------------
pod := {
	"containers": containers,
	"host_network": object.get(spec, "hostNetwork", false),
	"host_pid": object.get(spec, "hostPID", false),
	"host_ipc": object.get(spec, "hostIPC", false),
	"host_paths": [object.get(v, ["hostPath", "path"], "/") | some v in list(spec, "volumes"); v.hostPath],
	"runtime_class": object.get(spec, "runtimeClassName", ""),
	"mounts_token": mounts_token,
	"cpu_milli": together("cpu_milli"),
	"memory_mib": together("memory_mib"),
	"gpu": together("gpu"),
}

together(name) := max([
	sum([object.get(c.limits, name, 0) | some c in containers; c.role != "init"]),
	max(array.concat([0], [object.get(c.limits, name, 0) | some c in containers; c.role == "init"])),
])

default mounts_token := false

mounts_token if object.get(spec, "automountServiceAccountToken", true) != false

mounts_token if {
	some v in list(spec, "volumes")
	some source in list(object.get(v, "projected", {}), "sources")
	source.serviceAccountToken
}

claim_specs(value) := [{"name": object.get(value, ["metadata", "name"], ""), "spec": object.get(value, "spec", {})}] if kind == "PersistentVolumeClaim"

claim_specs(value) := array.concat(
	[{"name": object.get(t, ["metadata", "name"], ""), "spec": t.spec} | some t in list(object.get(value, "spec", {}), "volumeClaimTemplates")],
	[{"name": v.name, "spec": v.ephemeral.volumeClaimTemplate.spec} | some v in list(pod_at(value), "volumes"); v.ephemeral],
) if {
	kind != "PersistentVolumeClaim"
	is_object(pod_at(value))
}

claim_specs(value) := [] if {
	kind != "PersistentVolumeClaim"
	not is_object(pod_at(value))
}

claims := [{"name": c.name, "storage_mib": whole(quantity(c.spec.resources.requests.storage) / 1048576)} | some c in claim_specs(object_)]

# --- whose it is ------------------------------------------------------------------------------
said(value, place, fact_name) := object.get(value, ["metadata", place, fact_name], null)

carried(value, name) := [found |
	some key in settings.labels[name]
	some place in ["labels", "annotations"]
	found := said(value, place, key)
	found != null
]

fact(name) := carried(object_, name)[0] if count(carried(object_, name)) > 0

fact(name) := object.get(settings, ["namespaces", object.get(input.review, "namespace", ""), name], "") if count(carried(object_, name)) == 0

agent if "true" in carried(object_, "agent")

agent if "true" in carried(old, "agent")

agent if "true" in carried(holder, "agent")

agent if group in settings.agents.groups

agent if object.get(input.review, "namespace", "") in settings.agents.namespaces

agent if {
	some start in settings.agents.service_accounts
	startswith(object.get(spec, "serviceAccountName", ""), start)
}

# The template around the pod, which has labels of its own.
holder := object.get(object_, array.slice(paths[kind], 0, count(paths[kind]) - 1), {})

agents if {
	admitting
	agent
}

people if {
	admitting
	not agent
}

egress_given if count(carried(object_, "egress")) > 0

made_by_controller if {
	startswith(object.get(input.review, ["userInfo", "username"], ""), "system:")
	some owner in list(object.get(object_, "metadata", {}), "ownerReferences")
	owner.controller == true
}

# --- for people -------------------------------------------------------------------------------
cpus(milli) := format_int(milli / 1000, 10) if milli % 1000 == 0

cpus(milli) := sprintf("%dm", [milli]) if milli % 1000 != 0

size(mib) := sprintf("%d GiB", [mib / 1024]) if mib % 1024 == 0

size(mib) := sprintf("%d MiB", [mib]) if mib % 1024 != 0
