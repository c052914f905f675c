package template_lifecycle_test

import rego.v1

import data.fixtures
import data.scenes

test_version_not_semantic if {
	fixtures.fires("template/version-not-semantic", fixtures.resource(scenes.template_published, {"spec": {"version": "v2"}}))
	fixtures.silent("template/version-not-semantic", scenes.template_published)
}

test_setting_missing if {
	fixtures.fires("template/setting-missing", fixtures.resource(scenes.template_published, {"spec": {"settings": {"tls": false}}}))
	fixtures.silent("template/setting-missing", scenes.template_published)
}

test_security_tool_missing if {
	fixtures.fires("template/security-tool-missing", fixtures.resource(scenes.template_published, {"spec": {"security_tools": ["secret-scanning"]}}))
	fixtures.silent("template/security-tool-missing", scenes.template_published)
}

test_override if {
	fixtures.fires("template/override", fixtures.resource(scenes.template_published, {"spec": {"overrides": ["network_policy"]}}))
	fixtures.silent("template/override", fixtures.resource(scenes.template_published, {"spec": {"overrides": ["language_version"]}}))
}

test_workspace_override if {
	fixtures.fires("template/workspace-override", fixtures.spec(fixtures.person_creates, {"overrides": ["tls"]}))
	fixtures.silent("template/workspace-override", fixtures.spec(fixtures.person_creates, {"overrides": ["language_version"]}))
}

test_base_not_approved if {
	fixtures.fires("template/base-not-approved", fixtures.resource(scenes.template_published, {"spec": {"extends": "my-own"}}))
	fixtures.silent("template/base-not-approved", scenes.template_published)
}

test_check_not_passed if {
	fixtures.fires("template/check-not-passed", fixtures.context(scenes.template_published, {"publication": {"checks": {"policy": "failed"}}}))
	fixtures.silent("template/check-not-passed", scenes.template_published)
}

test_no_security_sign_off if {
	fixtures.fires("template/no-security-sign-off", json.remove(scenes.template_published, ["context/publication/security_sign_off"]))
	fixtures.silent("template/no-security-sign-off", scenes.template_published)
}

test_no_platform_review if {
	fixtures.fires("template/no-platform-review", json.remove(scenes.template_published, ["context/publication/platform_review"]))
	fixtures.silent("template/no-platform-review", scenes.template_published)
}

test_one_pair_of_eyes if {
	fixtures.fires("template/one-pair-of-eyes", fixtures.context(scenes.template_published, {"publication": {"platform_review": {"by": "per_sec"}}}))
	fixtures.silent("template/one-pair-of-eyes", scenes.template_published)
}

test_one_pair_of_eyes_2 if {
	fixtures.fires("template/one-pair-of-eyes", fixtures.context(scenes.template_published, {"publication": {"proposed_by": "per_plat"}}))
	fixtures.silent("template/one-pair-of-eyes", fixtures.person_creates)
}

test_no_change_log if {
	fixtures.fires("template/no-change-log", fixtures.resource(scenes.template_published, {"spec": {"change_log": ""}}))
	fixtures.silent("template/no-change-log", scenes.template_published)
}

test_no_justification if {
	fixtures.fires("template/no-justification", json.remove(scenes.template_published, ["context/justification"]))
	fixtures.silent("template/no-justification", scenes.template_published)
}

test_security_update_overdue if {
	fixtures.fires("template/security-update-overdue", fixtures.context(fixtures.person_creates, {"template": {"security_updated_at": "2026-01-29T09:00:00Z"}}))
	fixtures.silent("template/security-update-overdue", fixtures.context(fixtures.person_creates, {"template": {"security_updated_at": "2026-02-20T09:00:00Z"}}))
}

test_feature_update_overdue if {
	fixtures.fires("template/feature-update-overdue", fixtures.context(fixtures.person_creates, {"template": {"feature_updated_at": "2025-11-01T09:00:00Z"}}))
	fixtures.silent("template/feature-update-overdue", fixtures.context(fixtures.person_creates, {"template": {"feature_updated_at": "2026-01-20T09:00:00Z"}}))
}
