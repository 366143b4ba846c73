"""The protocol: folds, grid, runs and stored results."""
