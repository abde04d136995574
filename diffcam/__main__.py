"""``python -m diffcam fit ...`` is the same as ``lightning fit ...``."""

from diffcam.cli import lightning_main

if __name__ == "__main__":
    lightning_main()
