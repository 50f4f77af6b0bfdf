"""Contracts the sandbox runs natively."""
