"""Paid APIs for FastAPI and Starlette by the Machine Payments Protocol, settled on Stellar."""

__version__ = "0.1.0"
