"""What is told of a running gateway: the access log, and the log for its operator."""
