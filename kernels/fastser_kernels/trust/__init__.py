"""Self-tests of the kernels on the user's own machine, and the choice between kernel and reference that follows.

Every family of operations declares calls (`FAMILY/self_test.py`). `self_test.py` compares their results with the
reference and times both. A verdict holds for a combination of chip, driver and software (`combination.py`) and is kept
in the cache folder (`store.py`). `trusted.py` answers the question of `has_kernel`.
"""
