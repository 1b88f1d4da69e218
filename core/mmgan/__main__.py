"""``python -m mmgan`` is ``mmgan``."""

import sys

from mmgan.cli import main

if __name__ == "__main__":
    sys.exit(main())
