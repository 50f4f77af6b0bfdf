"""Daylight: a small API that sells sunrise and sunset, an agent that buys, and a demo of both."""
