"""The click-to-refocus page: a small web server for one person, and the page it serves."""

from diffcam.ui.desk import OpenPhoto, PhotoDesk
from diffcam.ui.server import PageServer

__all__ = ["OpenPhoto", "PageServer", "PhotoDesk"]
