"""The attacks, where they apply, on the middleware that a user might pick instead."""
