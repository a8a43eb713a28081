"""Splits of a route among upstreams: nothing here can be reached from Python."""
