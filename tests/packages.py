"""Programs that tests need and pip does not bring: installed where that is allowed."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence


def install(find: Callable[[], object], packages: Sequence[str], advice: str) -> str | None:
    """Installs packages with apt-get, where we are root and it is there, unless it is found.

    None, or one line on what is missing.
    """
    if find():
        return None
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return advice
    print(f"== apt-get install {' '.join(packages)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(
            [apt, "--quiet", "--quiet", *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            return f"{advice} (apt-get {words[0]} failed: {reason})"
    return None if find() else f"{advice} (apt-get brought none)"
