"""What is said of exchanges that are over."""
