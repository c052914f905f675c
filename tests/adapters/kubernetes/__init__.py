"""Certificates, and constraints for Gatekeeper."""
