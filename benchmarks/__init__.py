"""Measures fastgate beside nginx, HAProxy and Caddy on the machine it runs on: ``python -m benchmarks --help``."""
