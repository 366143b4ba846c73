"""Compiled kernels for CPU tensors: C++ in `src/`, one shared library for each kind of processor.

`library.py` chooses and loads the library, `calls.py` calls its functions. `kernels/build_native.py` compiles it.
"""
