"""Built-in policies that look at a request or change it."""
