"""What is made from the schema for others to read: the reference page and the JSON Schema."""
