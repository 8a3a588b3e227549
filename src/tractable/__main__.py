"""``python -m tractable`` is the command line."""

import sys

from tractable.cli import main

if __name__ == "__main__":
    sys.exit(main())
