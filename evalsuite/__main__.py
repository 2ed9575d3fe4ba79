"""`python -m evalsuite` is the command `evalsuite`."""

import sys

from evalsuite.cli import main

if __name__ == "__main__":
    sys.exit(main())
