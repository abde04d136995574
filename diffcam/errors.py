"""What a user can mend: bad input, bad files, missing weights."""


class DiffcamError(Exception):
    """A problem caused by input or files; its message is one line that says what was wrong, where, and what to do.

    Examples:
        >>> from diffcam.photo import open_photo
        >>> open_photo("absent.jpg")
        Traceback (most recent call last):
        diffcam.errors.DiffcamError: absent.jpg: cannot be opened (No such file or directory); check the photo's path
    """


def first_line(error: BaseException) -> str:
    """What an error says, in one line of at most 200 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
