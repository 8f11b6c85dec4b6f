"""Errors that are not the program's own: each ends it with one line.

Whatever else is raised is a fault of the program, and shows its traceback.
"""


class InputError(ValueError):
    """Error for an argument, a file or a device that cannot be used.

    The message is one line for the user: what was got, and what is allowed.
    """


class OutputError(OSError):
    """Error for a file that cannot be written; ``filename`` is its path."""
