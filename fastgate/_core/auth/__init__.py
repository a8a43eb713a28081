"""Who is asking: keys, tokens, passwords, certificates, another server."""
