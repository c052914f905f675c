# What may run in a Kubernetes cluster, whoever asks: pods in whatever object they stand, and storage.
# Sizes here are those of people's objects; agents have rules of their own beside these.
package admission.kubernetes_workloads

import rego.v1
import future.keywords.not

import data.charter.kubernetes

# METADATA
# title: "What cannot be read is not admitted"
# custom:
#   id: kubernetes/unreadable-object
#   severity: high
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Correct the named field."
deny contains {
	"id": "kubernetes/unreadable-object",
	"message": sprintf("%s.", [problem]),
} if {
	kubernetes.admitting
	some problem in kubernetes.problems
}

# METADATA
# title: "Images are pinned by digest"
# custom:
#   id: kubernetes/image-not-pinned
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9"]
#   owner: security-team
#   fix: "Name the image with its digest: repository@sha256:..."
deny contains {
	"id": "kubernetes/image-not-pinned",
	"message": sprintf("The image %s of %s can change under its name.", [container.image, container.name]),
} if {
	kubernetes.admitting
	some container in kubernetes.containers
	container.pinned == false
}

# METADATA
# title: "The tag latest is not used"
# custom:
#   id: kubernetes/image-latest
#   severity: medium
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Name a version, and the digest with it."
deny contains {
	"id": "kubernetes/image-latest",
	"message": sprintf("%s uses the tag latest.", [container.name]),
} if {
	kubernetes.admitting
	some container in kubernetes.containers
	container.tag == "latest"
}

# METADATA
# title: "Images come from approved registries"
# custom:
#   id: kubernetes/image-registry
#   severity: high
#   controls: ["SOC2 CC6.8", "ISO27001 A.8.19"]
#   owner: security-team
#   fix: "Take the image from an approved registry, or ask the platform team to mirror it."
deny contains {
	"id": "kubernetes/image-registry",
	"message": sprintf("The image %s of %s comes from a registry that is not approved.", [container.repository, container.name]),
} if {
	kubernetes.admitting
	some container in kubernetes.containers
	not approved(container.repository)
}

# METADATA
# title: "No container is privileged"
# custom:
#   id: kubernetes/privileged
#   severity: critical
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.2"]
#   owner: security-team
#   fix: "Take securityContext.privileged away."
deny contains {
	"id": "kubernetes/privileged",
	"message": sprintf("%s is privileged, which makes it as strong as its node.", [container.name]),
} if {
	kubernetes.admitting
	some container in kubernetes.containers
	container.privileged == true
}

# METADATA
# title: "Capabilities are not added"
# custom:
#   id: kubernetes/capability-added
#   severity: high
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.2"]
#   owner: security-team
#   fix: "Take the capability out of securityContext.capabilities.add."
deny contains {
	"id": "kubernetes/capability-added",
	"message": sprintf("%s adds the capability %s.", [container.name, capability]),
} if {
	kubernetes.admitting
	some container in kubernetes.containers
	some capability in container.capabilities
	not capability in kubernetes.settings.allowed_capabilities
}

# METADATA
# title: "The node's files stay on the node"
# custom:
#   id: kubernetes/host-path
#   severity: critical
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.22"]
#   owner: security-team
#   fix: "Use a PersistentVolumeClaim or an emptyDir."
deny contains {
	"id": "kubernetes/host-path",
	"message": sprintf("The pod mounts %s of its node.", [path]),
} if {
	kubernetes.admitting
	some pod in kubernetes.pods
	some path in pod.host_paths
	not allowed_path(path)
}

# METADATA
# title: "Pods have namespaces of their own"
# custom:
#   id: kubernetes/host-namespace
#   severity: critical
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.22"]
#   owner: security-team
#   fix: "Take hostNetwork, hostPID and hostIPC away."
deny contains {
	"id": "kubernetes/host-namespace",
	"message": sprintf("The pod shares the node's %s.", [shared]),
} if {
	kubernetes.admitting
	some pod in kubernetes.pods
	some shared in shares(pod)
}

# METADATA
# title: "Containers take no port of the node"
# custom:
#   id: kubernetes/host-port
#   severity: medium
#   controls: ["SOC2 CC6.6", "ISO27001 A.8.20"]
#   owner: platform-team
#   fix: "Use a Service in place of hostPort."
deny contains {
	"id": "kubernetes/host-port",
	"message": sprintf("%s takes a port of its node.", [container.name]),
} if {
	kubernetes.admitting
	some container in kubernetes.containers
	container.host_ports > 0
}

# METADATA
# title: "Limits are set"
# custom:
#   id: kubernetes/limits-missing
#   severity: medium
#   controls: ["SOC2 A1.1", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Set resources.limits for cpu and memory."
deny contains {
	"id": "kubernetes/limits-missing",
	"message": sprintf("%s has no limit for %s.", [container.name, words[name]]),
} if {
	kubernetes.admitting
	some container in kubernetes.containers
	container.role != "ephemeral"
	some name in object.keys(words)
	not container.limits[name]
}

# METADATA
# title: "Secrets are references, never values"
# custom:
#   id: kubernetes/secret-literal
#   severity: high
#   controls: ["SOC2 CC6.1", "ISO27001 A.8.24"]
#   owner: security-team
#   fix: "Use valueFrom.secretKeyRef, and change the secret: it has been seen."
deny contains {
	"id": "kubernetes/secret-literal",
	"message": sprintf("The variable %s of %s holds a secret as a value.", [variable, container.name]),
} if {
	kubernetes.admitting
	some container in kubernetes.containers
	some variable in container.secret_variables
}

# METADATA
# title: "Objects say whose they are"
# custom:
#   id: kubernetes/label-missing
#   severity: low
#   controls: ["SOC2 CC3.2", "ISO27001 A.5.9"]
#   owner: platform-team
#   fix: "Add the label, for example charter/team."
deny contains {
	"id": "kubernetes/label-missing",
	"message": sprintf("The object does not say its %s.", [name]),
} if {
	kubernetes.admitting
	not kubernetes.made_by_controller
	some name in kubernetes.settings.required_labels
	kubernetes.fact(name) in {"", null}
}

# METADATA
# title: "CPUs of a pod are limited"
# custom:
#   id: kubernetes/cpu-above-maximum
#   severity: medium
#   controls: ["SOC2 A1.1", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take less, or split the work."
deny contains {
	"id": "kubernetes/cpu-above-maximum",
	"message": sprintf("A pod with %s vCPU is more than the %s that one may have.", [kubernetes.cpus(pod.cpu_milli), kubernetes.cpus(kubernetes.settings.limits.human.cpu_milli)]),
} if {
	kubernetes.people
	some pod in kubernetes.pods
	pod.cpu_milli > kubernetes.settings.limits.human.cpu_milli
}

# METADATA
# title: "Memory of a pod is limited"
# custom:
#   id: kubernetes/memory-above-maximum
#   severity: medium
#   controls: ["SOC2 A1.1", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take less, or split the work."
deny contains {
	"id": "kubernetes/memory-above-maximum",
	"message": sprintf("A pod with %s of memory is more than the %s that one may have.", [kubernetes.size(pod.memory_mib), kubernetes.size(kubernetes.settings.limits.human.memory_mib)]),
} if {
	kubernetes.people
	some pod in kubernetes.pods
	pod.memory_mib > kubernetes.settings.limits.human.memory_mib
}

# METADATA
# title: "GPUs of a pod are limited"
# custom:
#   id: kubernetes/gpu-above-maximum
#   severity: medium
#   controls: ["SOC2 A1.1", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take fewer GPUs."
deny contains {
	"id": "kubernetes/gpu-above-maximum",
	"message": sprintf("A pod with %d GPU is more than the %d that one may have.", [pod.gpu, kubernetes.settings.limits.human.gpu]),
} if {
	kubernetes.people
	some pod in kubernetes.pods
	pod.gpu > kubernetes.settings.limits.human.gpu
}

# METADATA
# title: "Storage is limited"
# custom:
#   id: kubernetes/storage-above-maximum
#   severity: medium
#   controls: ["SOC2 A1.1", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Ask for less storage, or use the team's shared storage."
deny contains {
	"id": "kubernetes/storage-above-maximum",
	"message": sprintf("The claim %s takes %s; one may take %s.", [claim.name, kubernetes.size(claim.storage_mib), kubernetes.size(kubernetes.settings.limits.human.storage_mib)]),
} if {
	kubernetes.people
	some claim in kubernetes.claims
	claim.storage_mib > kubernetes.settings.limits.human.storage_mib
}

# METADATA
# title: "Large pods need approval"
# custom:
#   id: kubernetes/large-pod
#   severity: medium
#   controls: ["SOC2 CC6.3", "ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Ask for a smaller pod, or let a team lead approve it."
require_approval contains {
	"id": "kubernetes/large-pod",
	"message": sprintf("A pod with %s vCPU needs approval.", [kubernetes.cpus(pod.cpu_milli)]),
} if {
	kubernetes.people
	some pod in kubernetes.pods
	pod.cpu_milli > kubernetes.settings.limits.human.cpu_milli_without_approval
	pod.cpu_milli <= kubernetes.settings.limits.human.cpu_milli
}

# METADATA
# title: "Requests are pointed out where they are missing"
# custom:
#   id: kubernetes/requests-missing
#   severity: low
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Set resources.requests, so that the scheduler can plan."
warn contains {
	"id": "kubernetes/requests-missing",
	"message": sprintf("%s requests nothing, so its limit is reserved.", [container.name]),
} if {
	kubernetes.admitting
	some container in kubernetes.containers
	container.role == "main"
	not container.requests.cpu_milli
}

approved(repository) if {
	some registry in kubernetes.settings.registries
	startswith(repository, concat("", [registry, "/"]))
}

allowed_path(path) if {
	some prefix in kubernetes.settings.host_path_prefixes
	startswith(path, concat("", [prefix, "/"]))
	not contains(path, "..")
}

shares(pod) := {word | some name, word in {"host_network": "network", "host_pid": "processes", "host_ipc": "memory"}; pod[name] == true}

words := {"cpu_milli": "cpu", "memory_mib": "memory"}
