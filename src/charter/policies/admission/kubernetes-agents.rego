# What agents may have in a Kubernetes cluster, apart from what holds for everybody's objects: a runtime
# that isolates, no token of the cluster, a stated egress list, a small pod.
package admission.kubernetes_agents

import rego.v1
import future.keywords.not

import data.charter.kubernetes

# METADATA
# title: "Agents run behind an isolating runtime"
# custom:
#   id: kubernetes-agent/runtime-class
#   severity: critical
#   controls: ["SOC2 CC6.6", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "Set runtimeClassName to one of the isolating runtime classes."
deny contains {
	"id": "kubernetes-agent/runtime-class",
	"message": sprintf("The runtime class %s does not isolate an agent from its node.", [named(pod.runtime_class)]),
} if {
	kubernetes.agents
	some pod in kubernetes.pods
	not pod.runtime_class in kubernetes.settings.agent_runtime_classes
}

# METADATA
# title: "Agents' workspaces state where they may connect"
# custom:
#   id: kubernetes-agent/egress-missing
#   severity: high
#   controls: ["SOC2 CC6.6", "EU-AI-Act Art.15"]
#   owner: security-team
#   fix: "Add the annotation charter/egress with the hosts that the task needs; an empty one means none."
deny contains {
	"id": "kubernetes-agent/egress-missing",
	"message": "Agent workspaces require explicit egress allowlist",
} if {
	kubernetes.agents
	kubernetes.kind in {"DevWorkspace", "Sandbox"}
	not kubernetes.egress_given
}

# METADATA
# title: "Agents get no token of the cluster"
# custom:
#   id: kubernetes-agent/token-mounted
#   severity: critical
#   controls: ["SOC2 CC6.1", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Set automountServiceAccountToken to false, and project no token."
deny contains {
	"id": "kubernetes-agent/token-mounted",
	"message": "The pod gives an agent a token of the cluster's API.",
} if {
	kubernetes.agents
	some pod in kubernetes.pods
	pod.mounts_token == true
}

# METADATA
# title: "CPUs of an agent's pod are limited"
# custom:
#   id: kubernetes-agent/cpu-above-maximum
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take less; agents work in small workspaces."
deny contains {
	"id": "kubernetes-agent/cpu-above-maximum",
	"message": sprintf("A pod with %s vCPU is more than the %s that an agent's may have.", [kubernetes.cpus(pod.cpu_milli), kubernetes.cpus(kubernetes.settings.limits.agent.cpu_milli)]),
} if {
	kubernetes.agents
	some pod in kubernetes.pods
	pod.cpu_milli > kubernetes.settings.limits.agent.cpu_milli
}

# METADATA
# title: "Memory of an agent's pod is limited"
# custom:
#   id: kubernetes-agent/memory-above-maximum
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take less; agents work in small workspaces."
deny contains {
	"id": "kubernetes-agent/memory-above-maximum",
	"message": sprintf("A pod with %s of memory is more than the %s that an agent's may have.", [kubernetes.size(pod.memory_mib), kubernetes.size(kubernetes.settings.limits.agent.memory_mib)]),
} if {
	kubernetes.agents
	some pod in kubernetes.pods
	pod.memory_mib > kubernetes.settings.limits.agent.memory_mib
}

# METADATA
# title: "Agents get no GPU"
# custom:
#   id: kubernetes-agent/gpu
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Let a person run the GPU work."
deny contains {
	"id": "kubernetes-agent/gpu",
	"message": sprintf("An agent's pod asks for %d GPU.", [pod.gpu]),
} if {
	kubernetes.agents
	some pod in kubernetes.pods
	pod.gpu > kubernetes.settings.limits.agent.gpu
}

# METADATA
# title: "Storage of an agent is limited"
# custom:
#   id: kubernetes-agent/storage-above-maximum
#   severity: medium
#   controls: ["ISO27001 A.8.6"]
#   owner: platform-team
#   fix: "Take less storage; agents keep their results in the repository."
deny contains {
	"id": "kubernetes-agent/storage-above-maximum",
	"message": sprintf("The claim %s takes %s; an agent's may take %s.", [claim.name, kubernetes.size(claim.storage_mib), kubernetes.size(kubernetes.settings.limits.agent.storage_mib)]),
} if {
	kubernetes.agents
	some claim in kubernetes.claims
	claim.storage_mib > kubernetes.settings.limits.agent.storage_mib
}

# METADATA
# title: "Agents do not enter running pods"
# custom:
#   id: kubernetes-agent/connect
#   severity: high
#   controls: ["SOC2 CC6.3", "EU-AI-Act Art.14"]
#   owner: security-team
#   fix: "Let the agent work through its own workspace."
deny contains {
	"id": "kubernetes-agent/connect",
	"message": "An agent may not enter a running pod through the cluster's API.",
} if {
	kubernetes.connecting
	kubernetes.asked_by_agent
}

named(class) := class if class != ""

named("") := "of the node (none is set)"
