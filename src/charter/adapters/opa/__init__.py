"""Open Policy Agent beside Charter: as an engine, and as what bundles are made for."""
