"""fastser: speech-emotion models under noise, adversarial attack and corpus change.

`python -m fastser.reproduce --all` runs the whole protocol of Latif et al. 2020; `fastser.layers`, `fastser.models`,
`fastser.attacks` and `fastser.augmentation` are its parts for other people's models. Nothing heavy is imported here.
"""

__version__ = "0.1.0"
