"""A DenseBlock and a Transition in a small image classifier, trained for some steps on random images.

The two layers replace the plain modules of a DenseNet. They need no spectrograms and no other part of fastser.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from fastser.layers import DenseBlock, Transition


class SmallDenseNet(nn.Module):
    """Stem, two dense blocks with a transition between them, and a linear classifier, as in torchvision's DenseNet."""

    def __init__(self, num_classes: int, growth_rate: int = 8, num_layers: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, kernel_size=3, padding=1, bias=False)
        self.block1 = DenseBlock(16, growth_rate, num_layers)
        self.transition = Transition(self.block1.out_channels, self.block1.out_channels // 2)
        self.block2 = DenseBlock(self.block1.out_channels // 2, growth_rate, num_layers)
        self.norm = nn.BatchNorm2d(self.block2.out_channels)
        self.classifier = nn.Linear(self.block2.out_channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, classes] for images [N, 3, height, width]."""
        maps = self.block2(self.transition(self.block1(self.stem(images))))
        return self.classifier(relu(self.norm(maps)).mean(dim=(2, 3)))


def draw_images(count: int) -> tuple[Tensor, Tensor]:
    """Return random images [N, 3, 16, 16] and their labels: the left half of class 1 is brighter in one colour."""
    labels = torch.randint(2, (count,))
    images = torch.randn(count, 3, 16, 16)
    images[labels == 1, 0, :, :8] += 1.0
    return images, labels


def main() -> None:
    """Train the classifier and print loss and accuracy."""
    torch.manual_seed(0)
    model = SmallDenseNet(num_classes=2).to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, first block: {model.block1.extra_repr()}")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(1, 31):
        images, labels = draw_images(16)
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step}: loss {loss.item():.3f}")
    images, labels = draw_images(256)
    correct = model.eval()(images).argmax(dim=1) == labels
    print(f"accuracy on new images: {100 * correct.float().mean():.1f} %")


if __name__ == "__main__":
    main()
