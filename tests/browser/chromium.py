"""Finding a Chromium."""

import os
import shutil
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
