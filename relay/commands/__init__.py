"""The work of each command of `relay`: functions that return the exit status."""


class WrongUse(Exception):
    """A command was given something it cannot work with; the text is the one line shown."""
