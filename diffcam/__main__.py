"""``python -m diffcam`` is ``diffcam`` for the commands that this has, and ``lightning`` for all others."""

import sys

from diffcam.commands.cli import COMMANDS, lightning_main, main

if __name__ == "__main__":
    main() if sys.argv[1:2] and sys.argv[1] in COMMANDS else lightning_main()
