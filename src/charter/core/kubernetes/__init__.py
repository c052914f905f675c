"""Kubernetes admission: from an admission review to a decision document, and back to an answer."""
