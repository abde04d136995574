"""Photos as people keep them: read upright and in RGB, written back with what came with them.

Pixels are worked on at 8 bits a channel. Transparency, greyness, EXIF, colour profile and XMP of the original travel
beside them in `Photo` and are put back by `save_photo`; what could not be carried exactly is said in `Photo.notes`.
"""

from __future__ import annotations

from diffcam.photo.exif import lens_from_exif
from diffcam.photo.reading import MAX_PIXELS, Photo, open_photo, single_channel
from diffcam.photo.writing import RECORD_TAG, RECORD_TEXT, WRITABLE_SUFFIXES, check_output, encode_photo, save_photo

__all__ = ["MAX_PIXELS", "RECORD_TAG", "RECORD_TEXT", "WRITABLE_SUFFIXES", "Photo", "check_output", "encode_photo"]
__all__ += ["lens_from_exif", "open_photo", "save_photo", "single_channel"]
