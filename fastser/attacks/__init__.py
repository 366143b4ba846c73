"""Adversarial attacks on a classifier. All are untargeted and use the true label.

Source: Latif et al. 2020, section 5.3; Madry et al. 2018.
"""

from fastser.attacks.bim import BIM, FGSM
from fastser.attacks.named import ATTACKS, Attack, NamedAttack, Range, input_eps
from fastser.attacks.pgd import PGD, PGDL2

__all__ = ["ATTACKS", "BIM", "FGSM", "PGD", "PGDL2", "Attack", "NamedAttack", "Range", "input_eps"]
