"""`python run_eval.py [flags]` is `evalsuite run [flags]`."""

import sys

from evalsuite.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
