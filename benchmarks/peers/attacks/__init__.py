"""The attacks, written once for all sellers."""
