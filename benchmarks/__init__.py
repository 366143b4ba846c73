"""How fast fastser's operations are, beside eager PyTorch, torch.compile, other libraries and the machine's limits."""
