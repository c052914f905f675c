"""The policy side of a decision: bundles, their data, and the merge into one answer."""
