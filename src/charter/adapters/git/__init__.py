"""Reading a Git repository that others write, through the git command line."""
