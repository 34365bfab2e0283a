"""Buckets of a task's gateway as folders: a FUSE mount for as long as the task needs it, and nothing lost at its end."""
