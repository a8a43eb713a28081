"""``python -m fastgate`` is the command ``fastgate``."""

from fastgate.cli import main

if __name__ == "__main__":
    main(prog_name="fastgate")
