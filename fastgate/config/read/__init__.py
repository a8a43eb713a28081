"""Trees to typed values: the walk over schema and document, references, and the words about keys that are unknown."""
