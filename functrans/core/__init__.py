"""Programs and how they are recorded."""
