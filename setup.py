"""Builds the compiled core: one extension module for each ``.pyx`` below ``fastgate/_core``.

``FASTGATE_DEBUG=1`` (see ``make debug``) builds with bounds checks, assertions, live counters and symbols.
``FASTGATE_ASAN=1`` (see ``make asan``) builds what is shipped, with AddressSanitizer and UndefinedBehaviorSanitizer.
The C files that Cython writes lie under ``build/``, apart for debug builds, so that neither build spoils the other.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

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
PROBES = "fastgate._core.probes"


def extensions() -> list[Extension]:
    """One extension for each module of the core. A declaration, an included part or a header rebuilds them all."""
    return [
        Extension(
            ".".join(source.with_suffix("").parts),
            [str(source)],
            depends=sorted(str(part) for kind in ("pxd", "pxi", "h") for part in CORE.rglob(f"*.{kind}")),
            include_dirs=[str(CORE)],
            extra_compile_args=COMPILE,
            extra_link_args=LINK,
            define_macros=[("FASTGATE_DEBUG", "1")] if DEBUG else [],
        )
        for source in sorted(CORE.rglob("*.pyx"))
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


class Wheel(bdist_wheel):
    """A wheel without what only tests load."""

    def run(self) -> None:
        """Build it from the other packages alone."""
        packages, extensions = self.distribution.packages, self.distribution.ext_modules
        self.distribution.packages = [name for name in packages if not name.startswith(PROBES)]
        self.distribution.ext_modules = [each for each in extensions if not each.name.startswith(PROBES)]
        super().run()


setup(
    ext_modules=modules(),
    cmdclass={"bdist_wheel": Wheel},
    options={"build_ext": {"parallel": os.cpu_count()}},
)
