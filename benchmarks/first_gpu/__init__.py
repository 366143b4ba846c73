"""Measurements of the first minutes on a GPU, one module per stage. `benchmarks/first_gpu.sh` runs all of them.

Every stage appends its rows to a file as they are measured, so a stage that is cut off keeps what it has.
"""
