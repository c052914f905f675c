"""The doors to everything outside: policy engine, identity, sandboxes, notices.

Each adapter stands behind a port (a `Protocol` with its promises written down); what lies behind
it can be exchanged without a rule or a service noticing.
"""
