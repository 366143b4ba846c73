"""Mixup and BIM on your own data: two classifiers of random vectors, one trained with mixup, are attacked."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fastser.attacks import BIM
from fastser.augmentation import mixup

CLASSES, FEATURES, EPS = 4, 64, 0.5


def draw_data(count: int, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return vectors [N, features] around the centres of their classes, and their labels."""
    labels = torch.randint(CLASSES, (count,))
    return centres[labels] + torch.randn(count, FEATURES), labels


def train(x: Tensor, y: Tensor, alpha: float | None) -> nn.Module:
    """Train a classifier, with mixup if `alpha` is given."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(10):
        for part in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            if alpha is None:
                loss = cross_entropy(model(x[part]), y[part])
            else:
                mixed, y_a, y_b, lam = mixup(x[part], y[part], alpha)
                logits = model(mixed)
                own, other = (cross_entropy(logits, label, reduction="none") for label in (y_a, y_b))
                loss = (lam * own + (1 - lam) * other).mean()
            loss.backward()
            optimizer.step()
    return model.eval()


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the share of correct predictions, in percent."""
    return 100 * (model(x).argmax(dim=1) == y).float().mean().item()


def main() -> None:
    """Train both classifiers and print their accuracy on clean and on attacked data."""
    torch.manual_seed(0)
    centres = 0.5 * torch.randn(CLASSES, FEATURES)
    (x, y), (test_x, test_y) = draw_data(500, centres), draw_data(500, centres)
    for name, alpha in (("no mixup", None), ("mixup, alpha 1.0", 1.0)):
        model = train(x, y, alpha)
        clean = accuracy(model, test_x, test_y)
        attacked = accuracy(model, BIM(model, eps=EPS, alpha=EPS / 8, steps=10)(test_x, test_y), test_y)
        print(f"{name}: {clean:.1f} % on clean data, {attacked:.1f} % under BIM with eps {EPS}")


if __name__ == "__main__":
    main()
