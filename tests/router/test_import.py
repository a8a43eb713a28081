"""The router is usable without the rest of the package."""

import subprocess
import sys

LOADED = ["fastgate", "fastgate._core", "fastgate._core.routing", "fastgate._core.routing.router"]
PROGRAM = """
import sys
from fastgate._core.routing.router import Router
router = Router()
router.add("/users/{id}", 1)
assert router.match("GET", "/users/42").params == {"id": "42"}
print(*sorted(name for name in sys.modules if name.split(".")[0] == "fastgate"))
"""


def test_importing_the_router_loads_nothing_else_of_fastgate() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == LOADED


def test_the_public_name_is_that_router() -> None:
    program = PROGRAM.replace("from fastgate._core.routing.router import Router", "from fastgate import Router")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == LOADED


def test_a_regular_expression_loads_what_matches_it_and_nothing_else() -> None:
    program = PROGRAM + (
        'router.add("~/v[0-9]+/(?P<rest>.*)", 2)\n'
        'assert router.match("GET", "/v1/a").params == {"rest": "a"}\n'
        'print(*sorted(name for name in sys.modules if name.split(".")[0] == "fastgate"))\n'
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after = done.stdout.splitlines()
    assert set(after.split()) - set(before.split()) == {"fastgate._core.routing.expressions"}


def test_the_router_keeps_the_name_by_which_programs_import_it() -> None:
    program = PROGRAM.replace("fastgate._core.routing.router import", "fastgate._core.router import")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted([*LOADED, "fastgate._core.router"])
