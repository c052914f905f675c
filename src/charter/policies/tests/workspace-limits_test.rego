package workspace_limits_test

import rego.v1

import data.fixtures

test_resources_invalid if {
	fixtures.fires("admission/resources-invalid", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": -1}}))
	fixtures.silent("admission/resources-invalid", fixtures.person_creates)
}

test_resources_invalid_2 if {
	fixtures.fires("admission/resources-invalid", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": "2"}}))
	fixtures.silent("admission/resources-invalid", fixtures.person_creates)
}

test_resources_invalid_3 if {
	fixtures.fires("admission/resources-invalid", fixtures.spec(fixtures.person_creates, {"resources": {"memoryMib": 0.5}}))
	fixtures.silent("admission/resources-invalid", fixtures.agent_creates)
}

test_size_unknown if {
	fixtures.fires("admission/size-unknown", fixtures.spec(fixtures.person_creates, {"size": "colossal"}))
	fixtures.silent("admission/size-unknown", json.remove(fixtures.person_creates, ["request/object/spec/size"]))
}

test_size_needs_approval if {
	fixtures.fires("admission/size-needs-approval", fixtures.spec(fixtures.person_creates, {"size": "large"}))
	fixtures.silent("admission/size-needs-approval", fixtures.spec(fixtures.person_creates, {"size": "medium"}))
}

test_size_needs_approval_2 if {
	fixtures.fires("admission/size-needs-approval", fixtures.spec(fixtures.person_creates, {"size": "gpu"}))
	fixtures.silent("admission/size-needs-approval", fixtures.person_creates)
}

test_cpu_needs_approval if {
	fixtures.fires("admission/cpu-needs-approval", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 33}}))
	fixtures.silent("admission/cpu-needs-approval", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 32}}))
}

test_cpu_needs_approval_2 if {
	fixtures.fires("admission/cpu-needs-approval", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 64}}))
	fixtures.silent("admission/cpu-needs-approval", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 65}}))
}

test_cpu_needs_justification if {
	fixtures.fires("admission/cpu-needs-justification", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 65}}))
	fixtures.silent("admission/cpu-needs-justification", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 64}}))
}

test_cpu_above_maximum if {
	fixtures.fires("admission/cpu-above-maximum", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 129}}))
	fixtures.silent("admission/cpu-above-maximum", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 128}}))
}

test_memory_needs_approval if {
	fixtures.fires("admission/memory-needs-approval", fixtures.spec(fixtures.person_creates, {"resources": {"memoryMib": 131073}}))
	fixtures.silent("admission/memory-needs-approval", fixtures.spec(fixtures.person_creates, {"resources": {"memoryMib": 131072}}))
}

test_memory_above_maximum if {
	fixtures.fires("admission/memory-above-maximum", fixtures.spec(fixtures.person_creates, {"resources": {"memoryMib": 524289}}))
	fixtures.silent("admission/memory-above-maximum", fixtures.spec(fixtures.person_creates, {"resources": {"memoryMib": 524288}}))
}

test_gpu_needs_approval if {
	fixtures.fires("admission/gpu-needs-approval", fixtures.spec(fixtures.person_creates, {"resources": {"gpu": 1}}))
	fixtures.silent("admission/gpu-needs-approval", fixtures.person_creates)
}

test_gpu_above_maximum if {
	fixtures.fires("admission/gpu-above-maximum", fixtures.spec(fixtures.person_creates, {"resources": {"gpu": 9}}))
	fixtures.silent("admission/gpu-above-maximum", fixtures.spec(fixtures.person_creates, {"resources": {"gpu": 8}}))
}

test_disk_above_maximum if {
	fixtures.fires("admission/disk-above-maximum", fixtures.spec(fixtures.person_creates, {"resources": {"diskMib": 204801}}))
	fixtures.silent("admission/disk-above-maximum", fixtures.spec(fixtures.person_creates, {"resources": {"diskMib": 204800}}))
}

test_disk_below_minimum if {
	fixtures.fires("admission/disk-below-minimum", fixtures.spec(fixtures.person_creates, {"resources": {"diskMib": 1024}}))
	fixtures.silent("admission/disk-below-minimum", fixtures.agent_creates)
}

test_user_storage_needs_approval if {
	fixtures.fires("admission/user-storage-needs-approval", fixtures.context(fixtures.person_creates, {"quota": {"wanted": {"disk_mib": 102401}}}))
	fixtures.silent("admission/user-storage-needs-approval", fixtures.context(fixtures.person_creates, {"quota": {"wanted": {"disk_mib": 102400}}}))
}

test_quota_nearly_used if {
	fixtures.fires("admission/quota-nearly-used", fixtures.context(fixtures.person_creates, {"quota": {"wanted": {"workspaces": 8}}}))
	fixtures.silent("admission/quota-nearly-used", fixtures.context(fixtures.person_creates, {"quota": {"wanted": {"workspaces": 7}}}))
}

test_name_convention if {
	fixtures.fires("admission/name-convention", object.union(fixtures.person_creates, {"request": {"object": {"metadata": {"name": "My Box"}}}}))
	fixtures.silent("admission/name-convention", fixtures.person_creates)
}

test_labels_missing if {
	fixtures.fires("admission/labels-missing", fixtures.resource(fixtures.person_creates, {"project": null}))
	fixtures.silent("admission/labels-missing", fixtures.resource(fixtures.person_creates, {"project": null, "labels": {"project": "prj_1"}}))
}

test_forty_cpus_are_for_the_team_lead_or_the_admin if {
	found := fixtures.violation("admission/cpu-needs-approval", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 40}}))
	found.effect == "require_approval"
	found.approvers == ["team-lead", "platform-admin"]
	found.requires == []
}

test_ninety_six_cpus_need_the_team_lead_and_a_justification if {
	found := fixtures.violation("admission/cpu-needs-justification", fixtures.spec(fixtures.person_creates, {"resources": {"cpu": 96}}))
	found.effect == "require_approval"
	found.approvers == ["team-lead"]
	found.requires == ["justification"]
}

test_gpus_end_after_seven_days if {
	found := fixtures.violation("admission/gpu-needs-approval", fixtures.spec(fixtures.person_creates, {"resources": {"gpu": 1}}))
	found.requires == ["justification"]
	found.grant_seconds == ((7 * 24) * 60) * 60
}
