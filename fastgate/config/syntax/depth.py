"""How much a document may ask of what reads it, in whichever format."""

MAX_DEPTH = 64
"""The most lists and tables inside each other."""
TOO_DEEP = f"nested too deeply: at most {MAX_DEPTH} lists and tables may be inside each other"
TOO_LONG = "a number has too many digits"
