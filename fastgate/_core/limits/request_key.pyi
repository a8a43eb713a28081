"""Keys of requests: nothing here can be reached from Python."""
