"""A worker process: ``python -m fastgate.server DESCRIPTOR``. See `fastgate.server.worker`."""

import gc
import sys


def main() -> int:
    """Runs a worker; its exit code."""
    # What an import makes is kept. Looking through it for garbage is a tenth of the start; on again when it serves.
    gc.disable()
    from fastgate.server.worker import main as work

    return work(int(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
