"""Changes of a waveform, as microphones, telephones, rooms and careless cutting make them.

Each change is a function `(samples [n], sample_rate, generator) -> samples`, float32. `CHANGES` lists those that
`fastser.evaluate` tests, with their parameters and sources.
"""

from fastser.evaluation.changes.named import CHANGES, NamedChange

__all__ = ["CHANGES", "NamedChange"]
