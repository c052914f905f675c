"""Asking people: requests, votes, and the time-limited grants that a yes leaves behind."""
