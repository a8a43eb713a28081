"""The way to upstreams: TLS. Their targets and connections lie in the compiled core."""
