"""Limits at a route's door: nothing here can be reached from Python."""
