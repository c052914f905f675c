"""Who may do what: permissions, roles, scopes, reach, the delegation bound, the invariants."""
