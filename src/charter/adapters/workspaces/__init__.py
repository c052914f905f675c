"""Workspace providers: what makes a decided workspace real, and reports what is really there."""
