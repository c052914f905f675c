"""The Rego engine behind decisions: loading, evaluating, testing and describing bundles."""
