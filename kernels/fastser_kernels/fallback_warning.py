"""Category of the package's warnings, by which they can be filtered."""


class FallbackWarning(UserWarning):
    """A warning that a slower implementation computes, or may compute from the next process on."""
