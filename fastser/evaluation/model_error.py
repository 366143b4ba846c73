"""Error of a model that cannot be used. It loads without torch."""

from fastser.runtime.errors import UserError


class ModelError(UserError, ValueError):
    """A model that cannot be used. The message is one sentence."""
