"""The schema's history. Run by `drawbreak setup` and by the start-up commands."""
