"""HTTP/1.1: heads, framing, the connections of clients and of upstreams."""
