"""``python -m popolni``, which is what the launcher runs."""

import sys

from popolni.cli import main

if __name__ == "__main__":
    sys.exit(main())
