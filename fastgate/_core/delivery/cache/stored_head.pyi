"""An answer's head on its way into the store, and out of it."""
