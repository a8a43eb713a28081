"""The way to upstreams: TLS, the names of targets, and probes of their health.

Their connections, and the choice among targets, lie in the compiled core.
"""
