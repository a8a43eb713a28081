"""Text to trees, and text to parts: files with their lines, and how an address, a pattern or a duration is written."""
