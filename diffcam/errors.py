"""What a user can mend: bad input, bad files, missing weights."""

from __future__ import annotations

from collections.abc import Collection


class DiffcamError(Exception):
    """A problem caused by input or files; its message is one line that says what was wrong, where, and what to do.

    Examples:
        >>> from diffcam.photo import open_photo
        >>> open_photo("absent.jpg")
        Traceback (most recent call last):
        diffcam.errors.DiffcamError: absent.jpg: cannot be opened (No such file or directory); check the photo's path
    """


def check_choice(option: str, value: object, choices: Collection[str]) -> None:
    """Raise a DiffcamError that names the choices if a value is none of them."""
    if value not in choices:
        raise DiffcamError(f"{option} {value}: must be one of {', '.join(choices)}")


def first_line(error: BaseException) -> str:
    """What an error says, in one line of at most 200 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def refusal(error: OSError) -> str:
    """Why the system refused, without number and path, or what else the error says where no system was asked."""
    return error.strerror or first_line(error)
