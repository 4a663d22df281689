"""What each command of `relay` does: one function a file, which returns the exit status."""


class WrongUse(Exception):
    """A command was given something it cannot work with; the text is the one line shown."""
