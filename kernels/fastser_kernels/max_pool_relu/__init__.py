"""2x2 max-pooling with ReLU."""

from fastser_kernels.max_pool_relu.op import max_pool_relu

__all__ = ["max_pool_relu"]
