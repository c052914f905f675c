# What images workspaces are made of: approved ones, named by digest, scanned lately and without grave
# findings. Asked with image.use (by registries, builders, clusters), and with a workspace where the
# request names its images (context.images). The numbers stand in data/images.json.
package admission.images

import rego.v1
import future.keywords.not

import data.charter.facts

# METADATA
# title: "Images can be read"
# custom:
#   id: image/unreadable
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Send context.images as a list of objects, each with a reference and its scan."
deny contains {
	"id": "image/unreadable",
	"message": "The images of the request cannot be read, so nobody can judge them.",
} if {
	facts.imaging
	not facts.images_readable
}

# METADATA
# title: "Images grow from approved bases"
# custom:
#   id: image/not-approved
#   severity: high
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9", "PCI-DSS 2.2.1"]
#   owner: platform-team
#   fix: "Build on an approved base image; data/images.json lists them."
deny contains {
	"id": "image/not-approved",
	"message": sprintf("The base image %v is not approved.", [base(image)]),
} if {
	facts.imaging
	some image in facts.images
	not approved(image)
}

# METADATA
# title: "What is banned does not start"
# custom:
#   id: image/banned
#   severity: critical
#   controls: ["SOC2 CC7.1", "ISO27001 A.8.8"]
#   owner: security-team
#   fix: "Use the image that takes its place."
deny contains {
	"id": "image/banned",
	"message": sprintf("The image %v is banned; use %v instead.", [repository(image.reference), instead]),
} if {
	facts.imaging
	some image in facts.images
	instead := data.settings.images.banned[repository(image.reference)]
}

# METADATA
# title: "Images are named by digest"
# custom:
#   id: image/no-digest
#   severity: medium
#   controls: ["SOC2 CC8.1", "ISO27001 A.8.9"]
#   owner: platform-team
#   fix: "Name the image by its digest (name@sha256:…); a tag can point elsewhere tomorrow."
deny contains {
	"id": "image/no-digest",
	"message": sprintf("The image %v is not pinned to a digest.", [image.reference]),
} if {
	facts.imaging
	some image in facts.images
	not regex.match(`@sha256:[0-9a-f]{64}$`, image.reference)
}

# METADATA
# title: "Images are scanned before they are used"
# custom:
#   id: image/not-scanned
#   severity: high
#   controls: ["SOC2 CC7.1", "ISO27001 A.8.8", "PCI-DSS 6.3.1"]
#   owner: security-team
#   fix: "Scan the image and send the result along."
deny contains {
	"id": "image/not-scanned",
	"message": sprintf("No scan of the image %v is known.", [image.reference]),
} if {
	facts.imaging
	some image in facts.images
	not moment_of(image)
}

# METADATA
# title: "Scans are fresh"
# custom:
#   id: image/scan-too-old
#   severity: medium
#   controls: ["SOC2 CC7.1", "ISO27001 A.8.8", "PCI-DSS 11.3.1"]
#   owner: security-team
#   fix: "Scan the image again; new weaknesses have become known since."
deny contains {
	"id": "image/scan-too-old",
	"message": sprintf("The scan of %v is older than %v days.", [image.reference, data.settings.images.scan_max_age_seconds / facts.day]),
} if {
	facts.imaging
	some image in facts.images
	facts.now_ns - moment_of(image) > data.settings.images.scan_max_age_seconds * 1000000000
}

# METADATA
# title: "Images with grave weaknesses do not start"
# custom:
#   id: image/vulnerable
#   severity: high
#   controls: ["SOC2 CC7.1", "ISO27001 A.8.8", "PCI-DSS 6.3.3"]
#   owner: security-team
#   fix: "Update the image to a patched version, or ask for an exemption with an end."
deny contains {
	"id": "image/vulnerable",
	"message": sprintf("%v weaknesses of severity %v in %v are more than the %v that are accepted.", [number, severity, image.reference, limit]),
} if {
	facts.imaging
	some image in facts.images
	some severity, number in object.get(image, ["scan", "findings"], {})
	limit := data.settings.images.findings_max[severity]
	number > limit
}

# METADATA
# title: "Weaknesses of images are pointed out"
# custom:
#   id: image/weaknesses
#   severity: low
#   controls: ["ISO27001 A.8.8"]
#   owner: security-team
#   fix: "Plan the update of the image."
warn contains {
	"id": "image/weaknesses",
	"message": sprintf("%v weaknesses of severity %v in %v wait for an update.", [number, severity, image.reference]),
} if {
	facts.imaging
	some image in facts.images
	some severity, number in object.get(image, ["scan", "findings"], {})
	number > data.settings.images.findings_pointed_out[severity]
	not number > data.settings.images.findings_max[severity]
}

moment_of(image) := facts.moment(object.get(image, ["scan", "at"], null))

base(image) := object.get(image, "base", image.reference)

# Without its digest, and without a tag: the colon before a slash is a port.
repository(name) := regex.replace(split(name, "@")[0], `:[^/:]*$`, "")

approved(image) if {
	some prefix in data.settings.images.approved
	within(repository(base(image)), prefix)
}

# An entry that ends with a slash approves everything below it.
within(name, prefix) if name == prefix

within(name, prefix) if {
	endswith(prefix, "/")
	startswith(name, prefix)
}
