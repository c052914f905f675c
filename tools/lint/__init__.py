"""The house lint: rules of this code base that no general linter knows.

Each rule says why it is there and how to mend a finding. A line that has a good reason to break one
carries a comment, and the reason with it:

    conn.commit()  # house: allow unit-of-work — schema changes are not a unit of work

An escape without a reason, for a rule that does not exist, or on a line that breaks nothing is an
error of its own, so that escapes go away with their cause. `python -m tools.lint` checks the tree.
"""
