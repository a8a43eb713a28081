"""Parameters of a query: nothing here can be reached from Python."""
