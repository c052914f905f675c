"""Tests of the adapters, mirroring `charter.adapters`."""
