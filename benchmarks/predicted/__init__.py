"""Cost model of the GPU kernels: predicted times for chips that were not at hand, from counts of their work.

`python -m benchmarks.predicted` prints the page `benchmarks/results/predicted.md`. With `--write` it also rewrites the
page and the seconds per segment that `--dry-run` shows (`fastser/experiment/predicted_paces.json`).

- `record.py` runs the models on tensors without values and lists what a step calls;
- `kernels.py` turns the launch of a Triton kernel into `Work`, `aten.py` an operation of ATen;
- `instructions.py` knows the instructions of each compiled kernel, from the ahead-of-time tests;
- `chips.py` has the rates of the chips, `work.py` the limits that follow from both;
- `steps.py` adds up steps, `paper.py` tables of the paper, `page.py` prints them.

The time of a kernel is its largest limit (DRAM, L2, tensor cores, issue slots, latency) and the cost of a launch. It
assumes that a kernel reaches its limit, so a real kernel is slower.
"""
