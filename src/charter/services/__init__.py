"""Services: load facts, decide, write state, decision, audit and effects, commit, then answer."""
