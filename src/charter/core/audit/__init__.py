"""The audit trail as mathematics: events, the Merkle tree over them, checkpoints, export layout.

Nothing here touches a database, a key or a clock. `event` says what is recorded and how it becomes
bytes; `merkle` turns the bytes into a tree whose root commits to all of them; `checkpoint` writes
the root down so that it can be signed; `layout` names the files of an export.
"""
