"""Which route a request is for, and what it names: paths, hosts, networks, queries. Knows nothing of requests."""
