"""The benchmarks are not part of the package, so that the tests of their arithmetic have to find them."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)
