"""Where the state lives that all workers share."""
