"""A run's files on disk, and reading them safely when they come from a stranger."""
