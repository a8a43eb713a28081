# One command for each habit. A virtual environment is made in .venv on first use; nothing here needs root.
#
#   make demo    build, then run the gateway with a built-in upstream and print requests to try
#   make test    build, then run the tests (ARGS="tests/wire -k expect" for some of them)
#   make long    build, then run what is slow by nature: soak, large sizes, and on the build of make asan the fuzzer; ARGS as above
#   make lint    ruff, mypy, cython-lint and the import directions; builds nothing
#   make bench   measure against the proxies found on this machine
#   make debug   build with bounds checks, assertions and live counters into build/debug and run the tests on it
#   make asan    build with AddressSanitizer and UndefinedBehaviorSanitizer into build/asan and run core, wire, policies and cache on it
#   make docs    write the generated pages again
#   make clean   remove all that was built

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help build demo test long lint bench debug asan docs clean

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
PYTEST := pytest -n 2 --dist loadgroup
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet

CORE := $(shell find fastgate/_core -name "*.pyx" -o -name "*.pxd" -o -name "*.pxi" -o -name "*.h")
PYTHON_SOURCES = $(shell find fastgate -name '*.py' -o -name '*.pyi')

help:
	@sed -n '3,/^$$/s/^# \{0,1\}//p' Makefile

# ---- environment: one stamp for each set of packages, renewed when the project's own description changes

$(VENV)/.made:
	@for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$${python:-}" ]; then echo "fastgate needs Python 3.11 or newer; none was found (PYTHON=/path/to/python3 names one)" >&2; exit 1; fi; \
	if ! command -v cc >/dev/null; then echo "fastgate compiles its core and needs a C compiler (Debian: apt-get install gcc python3-dev)" >&2; exit 1; fi; \
	echo "making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENV) || { echo "cannot make a virtual environment (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@touch $@

$(VENV)/.build: $(VENV)/.made pyproject.toml
	@$(PIP) install 'setuptools>=77' 'cython>=3.1' wheel
	@touch $@

$(VENV)/.run: $(VENV)/.build pyproject.toml setup.py
	@echo "building fastgate"
	@$(PIP) install --no-build-isolation --editable '.[yaml]'
	@touch $@

$(VENV)/.test: $(VENV)/.run pyproject.toml
	@echo "installing the test tools"
	@$(PIP) install --no-build-isolation --editable '.[test]'
	@touch $@

$(VENV)/.bench: $(VENV)/.run pyproject.toml
	@echo "installing the peers of the benchmarks"
	@$(PIP) install --no-build-isolation --editable '.[bench]'
	@touch $@

# The linters read sources only, so they get the project's dependencies without the project.
$(VENV)/.lint: $(VENV)/.made pyproject.toml
	@echo "installing the linters"
	@$(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  print(*project["dependencies"], *project["optional-dependencies"]["yaml"], *project["optional-dependencies"]["lint"], sep="\n")' \
	  > $(VENV)/lint.txt
	@$(PIP) install --requirement $(VENV)/lint.txt
	@touch $@

# ---- the compiled core, in place beside its sources, when one of them is newer than the last build

# What has no source any more goes: a module that was built in an older tree would hide one that has taken its name.
$(VENV)/.core: $(VENV)/.run $(CORE) setup.py
	@find fastgate/_core -name '*.so' | while read -r built; do [ -e "$${built%%.*}.pyx" ] || rm -f "$$built"; done
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

build: $(VENV)/.core

# ---- habits

demo: $(VENV)/.core
	@$(BIN)/fastgate demo $(ARGS)

test: $(VENV)/.core $(VENV)/.test
	@$(BIN)/$(PYTEST) $(ARGS)

long: $(VENV)/.core $(VENV)/.test
	@$(BIN)/$(PYTEST) -m long --timeout 7200 $(or $(ARGS),tests --ignore tests/fuzz)
	@$(if $(ARGS),,$(MAKE) --no-print-directory asan ARGS="-m long --timeout 7200 tests/fuzz")

# All four speak before the first failure ends it.
lint: $(VENV)/.lint
	@export PATH=$(abspath $(BIN)):$$PATH; failed=0; \
	ruff check --quiet . || failed=1; \
	mypy --no-error-summary || failed=1; \
	cython-lint fastgate || failed=1; \
	lint-imports --no-logo >$(VENV)/imports.txt || { cat $(VENV)/imports.txt; failed=1; }; \
	if ((failed)); then exit 1; fi; \
	echo "lint: clean"

bench: $(VENV)/.core $(VENV)/.bench
	@$(BIN)/python -m benchmarks $(ARGS)

build/debug/.built: $(VENV)/.run $(CORE) $(PYTHON_SOURCES) setup.py
	@FASTGATE_DEBUG=1 $(BIN)/python setup.py --quiet build --build-lib build/debug --build-temp build/debug-objects
	@touch $@

# The copy under build/debug stands before the sources on the path of this process and of those that it starts.
debug: build/debug/.built $(VENV)/.test
	@PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/build/debug $(BIN)/$(PYTEST) $(ARGS)

build/asan/.built: $(VENV)/.run $(CORE) $(PYTHON_SOURCES) setup.py
	@FASTGATE_ASAN=1 $(BIN)/python setup.py --quiet build --build-lib build/asan --build-temp build/asan-objects
	@touch $@

# The sanitizers' libraries have to be loaded before Python, in this order, or what is undefined is not reported to files;
# Python's own allocator would hide where its objects end. Reports of every process, also of those that tests start, go
# to files: one of them fails the run, whatever the tests say.
SANITIZER = LD_PRELOAD="$$($(CC) -print-file-name=libubsan.so) $$($(CC) -print-file-name=libasan.so)" PYTHONMALLOC=malloc \
  ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0:abort_on_error=1:log_path=$(CURDIR)/build/asan-report \
  UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1:log_path=$(CURDIR)/build/asan-report

asan: build/asan/.built $(VENV)/.test
	@rm -f build/asan-report.*; failed=0; \
	PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/build/asan $(SANITIZER) \
	  $(BIN)/$(PYTEST) $(or $(ARGS),tests/core tests/wire tests/policies tests/cache) || failed=1; \
	if compgen -G 'build/asan-report.*' >/dev/null; then cat build/asan-report.*; exit 1; fi; \
	exit $$failed

docs: $(VENV)/.core
	@$(BIN)/fastgate schema --reference > docs/configuration.md

clean:
	rm -rf build dist fastgate.egg-info $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find fastgate/_core -name "*.so" -o -name "*.c" -o -name "*.html" | xargs -r rm -f
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
