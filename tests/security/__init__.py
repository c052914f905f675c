"""Attacks that once worked, or must never: each test is one attempt and what stops it."""
