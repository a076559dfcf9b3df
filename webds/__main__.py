"""``python -m webds``: the command line."""

from __future__ import annotations

import sys

from webds.cli import main

if __name__ == "__main__":
    sys.exit(main())
