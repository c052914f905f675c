package images_test

import rego.v1

import data.fixtures
import data.scenes

test_unreadable if {
	fixtures.fires("image/unreadable", fixtures.context(scenes.person_uses_image, {"images": ["registry.example.org/base/python"]}))
	fixtures.silent("image/unreadable", scenes.person_uses_image)
}

test_unreadable_2 if {
	fixtures.fires("image/unreadable", fixtures.context(fixtures.person_creates, {"images": "all of them"}))
	fixtures.silent("image/unreadable", fixtures.person_creates)
}

test_not_approved if {
	fixtures.fires("image/not-approved", scenes.image({"reference": "example.net/anything:1", "base": "example.net/anything:1"}))
	fixtures.silent("image/not-approved", scenes.person_uses_image)
}

test_not_approved_2 if {
	fixtures.fires("image/not-approved", scenes.image({"base": "registry.example.org/base-of-mine/python"}))
	fixtures.silent("image/not-approved", scenes.image({"base": "registry.example.org/base/go:1.24"}))
}

test_not_approved_3 if {
	fixtures.fires("image/not-approved", fixtures.context(fixtures.person_creates, {"images": [{"reference": "example.net/anything"}]}))
	fixtures.silent("image/not-approved", fixtures.person_creates)
}

test_banned if {
	fixtures.fires("image/banned", scenes.image({"reference": "docker.io/library/node:22"}))
	fixtures.silent("image/banned", scenes.person_uses_image)
}

test_no_digest if {
	fixtures.fires("image/no-digest", scenes.image({"reference": "registry.example.org/base/python:3.13"}))
	fixtures.silent("image/no-digest", scenes.person_uses_image)
}

test_not_scanned if {
	fixtures.fires("image/not-scanned", scenes.image({"scan": {"at": null}}))
	fixtures.silent("image/not-scanned", scenes.person_uses_image)
}

test_scan_too_old if {
	fixtures.fires("image/scan-too-old", scenes.image({"scan": {"at": "2026-01-30T09:00:00Z"}}))
	fixtures.silent("image/scan-too-old", scenes.image({"scan": {"at": "2026-02-01T09:00:00Z"}}))
}

test_vulnerable if {
	fixtures.fires("image/vulnerable", scenes.image({"scan": {"findings": {"critical": 1}}}))
	fixtures.silent("image/vulnerable", scenes.person_uses_image)
}

test_vulnerable_2 if {
	fixtures.fires("image/vulnerable", scenes.image({"scan": {"findings": {"medium": 51}}}))
	fixtures.silent("image/vulnerable", scenes.image({"scan": {"findings": {"medium": 50, "low": 900}}}))
}

test_weaknesses if {
	fixtures.fires("image/weaknesses", scenes.image({"scan": {"findings": {"medium": 11}}}))
	fixtures.silent("image/weaknesses", scenes.person_uses_image)
}
