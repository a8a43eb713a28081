"""Parts of the core shown to tests and benchmarks. The gateway never loads them; a wheel has none of them."""
