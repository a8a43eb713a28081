"""The body of a stored answer on its way to a client, also of one that is only just being stored."""
