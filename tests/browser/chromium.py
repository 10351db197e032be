"""Finding a Chromium, or getting one where that is allowed."""

import os
import shutil
import subprocess
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PLACES = ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",)
PACKAGES = ("chromium", "fonts-noto-cjk")
ARGUMENTS = [
    "--no-sandbox",  # tests run as root in a container, too
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
ADVICE = "apt-get install chromium, or set POPOLNI_CHROMIUM to the path of one"


def find_chromium() -> str | None:
    """The path of a Chromium: POPOLNI_CHROMIUM's, or the first that is installed."""
    if given := os.environ.get("POPOLNI_CHROMIUM"):
        return given
    for name in NAMES:
        if path := shutil.which(name):
            return path
    return next((path for path in PLACES if Path(path).exists()), None)


def install_chromium() -> str | None:
    """Installs one with apt-get, where we are root and it is there; None, or what went wrong."""
    if find_chromium():
        return None
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return f"no Chromium here, so nothing was tried in a browser: {ADVICE}"
    print("== a Chromium for the browser tests", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
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
            return f"apt-get {words[0]} did not get a Chromium ({reason}): {ADVICE}"
    return None if find_chromium() else f"apt-get brought no Chromium: {ADVICE}"
