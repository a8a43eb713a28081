"""What happens to one request from its head to its end, whoever brought it and whoever answers."""
