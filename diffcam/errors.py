"""What a user can mend: bad input, bad files, missing weights."""


class DiffcamError(Exception):
    """A problem caused by input or files; its message is one line that says what was wrong, where, and what to do."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line of at most 200 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
