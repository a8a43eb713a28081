"""What no single key can know: a module a feature or a table, what is wrong in it, what is allowed and suspicious."""
