"""The specification as code: pure, deterministic, replayable; imports the standard library only."""
