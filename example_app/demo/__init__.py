"""The demo: a network, an API and an agent as separate processes, and every coin counted.

``python -m example_app.demo``, or ``make demo``.
"""
