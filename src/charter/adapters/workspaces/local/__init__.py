"""Workspaces as sandboxes on this machine: bubblewrap, namespaces, control groups, seccomp.

Read `provider` for what is decided, `holder` for how a sandbox lives, `records` for why no crash
leaves it undefined, `bubblewrap` and `seccomp` for the walls. `LocalProvider` is in `provider`;
this file imports nothing, because the holder loads it at every start.
"""
