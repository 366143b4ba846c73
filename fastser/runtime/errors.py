"""Base class of the errors of users."""


class UserError(Exception):
    """An error whose message is everything that a user needs to see. Commands print it and exit with status 2."""
