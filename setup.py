"""Builds the compiled core: one extension module for each ``fastgate/_core/*.pyx``.

``FASTGATE_DEBUG=1`` (see ``make debug``) builds with bounds checks, assertions, live counters and symbols.
``FASTGATE_ASAN=1`` (see ``make asan``) builds what is shipped, with AddressSanitizer and UndefinedBehaviorSanitizer.
The C files that Cython writes lie under ``build/``, apart for debug builds, so that neither build spoils the other.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTGATE_DEBUG") == "1"
ASAN = os.environ.get("FASTGATE_ASAN") == "1"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "cdivision": not DEBUG,
    "initializedcheck": DEBUG,
    "nonecheck": DEBUG,
    "infer_types": False,
    "freethreading_compatible": False,
}

# The three that are off fire in the code that Cython itself writes.
COMPILE = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Wno-cast-function-type"]
LINK = []
if ASAN:
    # Python's own flags make signed overflow wrap around; without that it is found.
    SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    COMPILE += ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-wrapv", *SANITIZE]
    LINK = SANITIZE
elif DEBUG:
    COMPILE += ["-O0", "-g", "-UNDEBUG", "-fstack-protector-all"]
else:
    COMPILE += ["-g1", "-fno-semantic-interposition"]
    if "-O" not in os.environ.get("CFLAGS", ""):
        COMPILE += ["-O2"]

CORE = Path("fastgate", "_core")


def extensions() -> list[Extension]:
    """One extension for each module of the core. A declaration, an included part or a header rebuilds them all."""
    return [
        Extension(
            f"fastgate._core.{source.stem}",
            [str(source)],
            depends=sorted(str(part) for kind in ("pxd", "pxi", "h") for part in CORE.glob(f"*.{kind}")),
            include_dirs=[str(CORE)],
            extra_compile_args=COMPILE,
            extra_link_args=LINK,
            define_macros=[("FASTGATE_DEBUG", "1")] if DEBUG else [],
        )
        for source in sorted(CORE.glob("*.pyx"))
    ]


def modules() -> list[Extension]:
    """The extensions; as C, except where only metadata or the source archive are wanted, which takes a fraction."""
    if sys.argv[1:2] in (["egg_info"], ["dist_info"], ["sdist"]):
        return extensions()
    return list(
        cythonize(
            extensions(),
            build_dir="build/cython-debug" if DEBUG else "build/cython",
            nthreads=(os.cpu_count() or 1) if sys.platform == "linux" else 0,  # which needs fork
            compiler_directives=DIRECTIVES,
        )
    )


setup(
    ext_modules=modules(),
    options={"build_ext": {"parallel": os.cpu_count()}},
)
