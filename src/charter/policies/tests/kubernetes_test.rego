# Kubernetes objects that nothing speaks against, and one change at a time.
package kubernetes_test

import rego.v1
import future.keywords.not

import data.fixtures

limits := {"cpu_milli": 2000, "memory_mib": 4096, "gpu": 0}

container := {
	"name": "tools", "role": "main", "image": "registry.example.com/dev/tools@sha256:00", "repository": "registry.example.com/dev/tools",
	"tag": "", "pinned": true, "privileged": false, "capabilities": [], "host_ports": 0,
	"limits": limits, "requests": limits, "secret_variables": [],
}

pod := {
	"where": "spec", "containers": [container], "host_network": false, "host_pid": false, "host_ipc": false, "host_paths": [],
	"runtime_class": "gvisor", "service_account": "", "mounts_token": false,
	"cpu_milli": 2000, "memory_mib": 4096, "ephemeral_mib": 0, "gpu": 0,
}

# A person creates a workspace's Deployment: nothing speaks.
person := {
	"subject": {"kind": "human", "id": "kubernetes:dana", "roles": [], "groups": ["system:authenticated"]},
	"action": {"name": "kubernetes.create"},
	"resource": {
		"kind": "kubernetes.deployment", "id": "payments/api", "owner": "dana", "team": "payments", "project": "ledger",
		"labels": {}, "data_class": "internal",
		"spec": {
			"kind": "Deployment", "group": "apps", "subresource": "", "dry_run": false, "agent": false, "changed": true, "deleting": false,
			"pods": [pod], "claims": [{"name": "home", "storage_mib": 10240}], "problems": [],
		},
	},
	"context": {"now": fixtures.now, "dry_run": false},
	"request": {"uid": "1", "operation": "CREATE", "userInfo": {"username": "dana"}, "object": {"metadata": {"name": "api"}}},
}

# The same as an agent's Sandbox.
agent := object.union(person, {"resource": {"kind": "kubernetes.sandbox", "spec": {"kind": "Sandbox", "agent": true, "egress_allowlist": ["git.example.org"]}}})

spec(document, part) := object.union(document, {"resource": {"spec": part}})

with_pod(document, part) := spec(document, {"pods": [object.union(pod, part)]})

with_container(document, part) := with_pod(document, {"containers": [object.union(container, part)]})

service := object.union(person, {"subject": {"kind": "service", "id": "kubernetes:system:serviceaccount:kube-system:replicaset-controller"}})

allowed(document) if {
	answer := data.charter.decision with input as document
	answer.effect == "allow"
	answer.violations == []
}

test_nothing_speaks if {
	allowed(person)
	allowed(agent)
	allowed(service)
}

test_services_act_in_kubernetes_only if {
	fixtures.fires("admission/unknown-subject-kind", object.union(service, {"action": {"name": "workspace.view"}}))
	fixtures.silent("admission/unknown-subject-kind", service)
}

test_an_update_is_judged_when_what_runs_changes if {
	privileged := with_container(object.union(person, {"action": {"name": "kubernetes.update"}}), {"privileged": true})
	fixtures.fires("kubernetes/privileged", privileged)
	fixtures.silent("kubernetes/privileged", spec(privileged, {"changed": false}))
	fixtures.silent("kubernetes/privileged", spec(privileged, {"deleting": true}))
	fixtures.silent("kubernetes/privileged", object.union(privileged, {"action": {"name": "kubernetes.delete"}}))
}

test_unreadable_object if {
	fixtures.fires("kubernetes/unreadable-object", spec(person, {"problems": ["spec.containers is not a list"]}))
	fixtures.silent("kubernetes/unreadable-object", person)
}

test_image_not_pinned if {
	fixtures.fires("kubernetes/image-not-pinned", with_container(person, {"pinned": false}))
	fixtures.silent("kubernetes/image-not-pinned", person)
}

test_image_latest if {
	fixtures.fires("kubernetes/image-latest", with_container(person, {"tag": "latest"}))
	fixtures.silent("kubernetes/image-latest", with_container(person, {"tag": "1.2"}))
}

test_image_registry if {
	fixtures.fires("kubernetes/image-registry", with_container(person, {"repository": "docker.io/library/ubuntu"}))
	fixtures.fires("kubernetes/image-registry", with_container(person, {"repository": "registry.example.com.evil.example/dev/tools"}))
	fixtures.silent("kubernetes/image-registry", person)
}

test_privileged if {
	fixtures.fires("kubernetes/privileged", with_container(person, {"privileged": true}))
	fixtures.silent("kubernetes/privileged", person)
}

test_capability_added if {
	fixtures.fires("kubernetes/capability-added", with_container(person, {"capabilities": ["SYS_ADMIN"]}))
	fixtures.silent("kubernetes/capability-added", with_container(person, {"capabilities": ["NET_BIND_SERVICE"]}))
}

test_host_path if {
	fixtures.fires("kubernetes/host-path", with_pod(person, {"host_paths": ["/var/run/docker.sock"]}))
	fixtures.silent("kubernetes/host-path", person)
}

test_host_path_of_an_allowed_folder if {
	settings := object.union(data.settings.kubernetes, {"host_path_prefixes": ["/srv/models"]})
	inside := with_pod(person, {"host_paths": ["/srv/models/large"]})
	outside := with_pod(person, {"host_paths": ["/srv/models/../../etc"]})
	fixtures.silent("kubernetes/host-path", inside) with data.settings.kubernetes as settings
	fixtures.fires("kubernetes/host-path", outside) with data.settings.kubernetes as settings
}

test_host_namespace if {
	fixtures.fires("kubernetes/host-namespace", with_pod(person, {"host_network": true}))
	fixtures.fires("kubernetes/host-namespace", with_pod(person, {"host_pid": true}))
	fixtures.fires("kubernetes/host-namespace", with_pod(person, {"host_ipc": true}))
	fixtures.silent("kubernetes/host-namespace", person)
}

test_host_port if {
	fixtures.fires("kubernetes/host-port", with_container(person, {"host_ports": 1}))
	fixtures.silent("kubernetes/host-port", person)
}

test_limits_missing if {
	without := object.remove(container, ["limits"])
	fixtures.fires("kubernetes/limits-missing", with_pod(person, {"containers": [object.union(without, {"limits": {"cpu_milli": 100}})]}))
	fixtures.silent("kubernetes/limits-missing", with_pod(person, {"containers": [object.union(without, {"limits": {}, "role": "ephemeral"})]}))
	fixtures.silent("kubernetes/limits-missing", person)
}

test_secret_literal if {
	fixtures.fires("kubernetes/secret-literal", with_container(person, {"secret_variables": ["DB_PASSWORD"]}))
	fixtures.silent("kubernetes/secret-literal", person)
}

test_label_missing if {
	fixtures.fires("kubernetes/label-missing", object.union(person, {"resource": {"team": ""}}))
	fixtures.silent("kubernetes/label-missing", person)
}

test_label_missing_of_what_a_controller_makes if {
	owned := {"resource": {"team": ""}, "request": {"object": {"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "controller": true}]}}}}
	fixtures.silent("kubernetes/label-missing", object.union(service, owned))
	fixtures.fires("kubernetes/label-missing", object.union(person, owned))
}

test_cpu_above_maximum if {
	fixtures.fires("kubernetes/cpu-above-maximum", with_pod(person, {"cpu_milli": 128001}))
	fixtures.silent("kubernetes/cpu-above-maximum", with_pod(person, {"cpu_milli": 128000}))
}

test_memory_above_maximum if {
	fixtures.fires("kubernetes/memory-above-maximum", with_pod(person, {"memory_mib": 524289}))
	fixtures.silent("kubernetes/memory-above-maximum", with_pod(person, {"memory_mib": 524288}))
}

test_gpu_above_maximum if {
	fixtures.fires("kubernetes/gpu-above-maximum", with_pod(person, {"gpu": 9}))
	fixtures.silent("kubernetes/gpu-above-maximum", with_pod(person, {"gpu": 8}))
}

test_storage_above_maximum if {
	fixtures.fires("kubernetes/storage-above-maximum", spec(person, {"claims": [{"name": "home", "storage_mib": 204801}]}))
	fixtures.silent("kubernetes/storage-above-maximum", spec(person, {"claims": [{"name": "home", "storage_mib": 204800}]}))
}

test_large_pod if {
	fixtures.fires("kubernetes/large-pod", with_pod(person, {"cpu_milli": 33000}))
	fixtures.silent("kubernetes/large-pod", with_pod(person, {"cpu_milli": 32000}))
	fixtures.silent("kubernetes/large-pod", with_pod(person, {"cpu_milli": 129000}))
}

test_requests_missing if {
	without := object.union(object.remove(container, ["requests"]), {"requests": {}})
	fixtures.fires("kubernetes/requests-missing", with_pod(person, {"containers": [without]}))
	fixtures.silent("kubernetes/requests-missing", person)
}

test_agent_runtime_class if {
	fixtures.fires("kubernetes-agent/runtime-class", with_pod(agent, {"runtime_class": ""}))
	fixtures.fires("kubernetes-agent/runtime-class", with_pod(agent, {"runtime_class": "runc"}))
	fixtures.silent("kubernetes-agent/runtime-class", agent)
	fixtures.silent("kubernetes-agent/runtime-class", with_pod(person, {"runtime_class": ""}))
}

test_agent_egress_missing if {
	fixtures.fires("kubernetes-agent/egress-missing", spec(person, {"kind": "DevWorkspace", "agent": true}))
	fixtures.silent("kubernetes-agent/egress-missing", agent)
	fixtures.silent("kubernetes-agent/egress-missing", spec(agent, {"egress_allowlist": []}))
}

test_agent_token_mounted if {
	fixtures.fires("kubernetes-agent/token-mounted", with_pod(agent, {"mounts_token": true}))
	fixtures.silent("kubernetes-agent/token-mounted", agent)
}

test_agent_sizes if {
	fixtures.fires("kubernetes-agent/cpu-above-maximum", with_pod(agent, {"cpu_milli": 8500}))
	fixtures.silent("kubernetes-agent/cpu-above-maximum", agent)
	fixtures.fires("kubernetes-agent/memory-above-maximum", with_pod(agent, {"memory_mib": 16385}))
	fixtures.silent("kubernetes-agent/memory-above-maximum", agent)
	fixtures.fires("kubernetes-agent/gpu", with_pod(agent, {"gpu": 1}))
	fixtures.silent("kubernetes-agent/gpu", agent)
	fixtures.fires("kubernetes-agent/storage-above-maximum", spec(agent, {"claims": [{"name": "home", "storage_mib": 51201}]}))
	fixtures.silent("kubernetes-agent/storage-above-maximum", agent)
}

test_agent_connect if {
	exec := object.union(person, {"action": {"name": "kubernetes.connect"}})
	fixtures.fires("kubernetes-agent/connect", object.union(exec, {"subject": fixtures.agent}))
	fixtures.silent("kubernetes-agent/connect", exec)
}
