"""The public objects: tasks wired around one pump."""
