"""What a cluster is given: certificates, and constraints for Gatekeeper."""
