"""Classic operations: how each is checked and applied."""
