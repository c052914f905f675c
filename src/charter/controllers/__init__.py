"""Controllers: level-triggered loops that make the world follow what was decided."""
