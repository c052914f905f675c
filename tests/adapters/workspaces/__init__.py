"""Tests of the workspace providers."""
