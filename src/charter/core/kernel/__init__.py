"""The shared vocabulary of every rule: subjects, decisions, errors, units, identifiers."""
