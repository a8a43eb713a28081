"""The index of an answer's head as bytes, to open the head again without reading it."""
