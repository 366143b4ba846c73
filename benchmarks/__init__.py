"""Benchmarks of fastser against eager PyTorch, torch.compile, other libraries and the limits of the machine.

`README.md` in this folder says how to run them and how to add a case.
"""
