"""What a user can mend: bad input, bad files, missing weights."""


class DiffcamError(Exception):
    """A problem caused by input or files; its message is one line that says what was wrong, where, and what to do."""
