"""A small convolutional classifier whose features measure how good generated images are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from tractable.core.checks import check_count, check_shape
from tractable.core.seeds import derive, seeded
from tractable.train import cosine_decay, fit
from tractable.walkback.distances import rows

__all__ = ["ImageClassifier", "train_classifier"]


class ImageClassifier(nn.Module):
    """Convolutions and pooling down to at most 4 x 4 pixels, features, classes.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, height, width.
    n_classes : int
        Number of classes, >= 2.
    n_features : int
        Width of the layer whose activity is the feature vector.

    Examples
    --------
    >>> net = ImageClassifier((1, 8, 8), 10)
    >>> net.features(np.zeros((5, 64))).shape, net.probabilities(np.zeros((5, 64))).shape
    ((5, 32), (5, 10))
    """

    def __init__(self, shape: Sequence[int], n_classes: int, *, n_features: int = 32) -> None:
        super().__init__()
        check_shape("shape", shape, ("channels", "height", "width"))
        for size in shape:
            check_count("shape", size)
        check_count("n_classes", n_classes, 2)
        check_count("n_features", n_features)
        self.shape = tuple(shape)
        channels, height, breadth = self.shape
        width = 16
        blocks: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        if max(height, breadth) > 16:
            blocks.append(nn.MaxPool2d(2))
            height, breadth = height // 2, breadth // 2
        while max(height, breadth) > 4 and min(height, breadth) > 1:
            blocks += [nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            width, height, breadth = 2 * width, height // 2, breadth // 2
        self.body = nn.Sequential(
            *blocks,
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(width * height * breadth, n_features),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(n_features, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (B, K), of images of any shape with as many pixels."""
        return self.head(self.body(x.reshape(len(x), *self.shape)))

    def features(self, x: ArrayLike) -> np.ndarray:
        """Return the feature vectors, float64, shape (B, n_features)."""
        return self._chunked(x, self.body)

    def probabilities(self, x: ArrayLike) -> np.ndarray:
        """Return class probabilities, float64, shape (B, K)."""
        return self._chunked(x, lambda part: self.head(self.body(part)).softmax(1))

    def _chunked(self, x: ArrayLike, function: Callable[[Tensor], Tensor]) -> np.ndarray:
        flat = torch.from_numpy(rows("x", x)).float()
        check_shape("x (flattened)", flat.shape, ("B", math.prod(self.shape)))
        like = next(self.parameters())
        with torch.inference_mode():
            parts = [
                function(part.reshape(len(part), *self.shape).to(like.device))
                for part in flat.split(1024)
            ]
        return torch.cat(parts).cpu().double().numpy()


def train_classifier(
    x: ArrayLike,
    labels: ArrayLike,
    shape: Sequence[int],
    *,
    steps: int = 800,
    batch: int = 64,
    learning_rate: float = 3e-3,
    n_features: int = 32,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> ImageClassifier:
    """Train an `ImageClassifier` on images of zero mean and unit variance.

    Parameters
    ----------
    x : array_like, shape (m, ...)
        Images, pixels (not principal components): standardized intensities.
    labels : array_like of int, shape (m,)
        Classes 0 .. K-1.
    shape : (int, int, int)
        Channels, height, width.
    steps, batch, learning_rate : int, int, float
        Of Adam; the rate falls to 0 along a cosine.
    n_features : int
        Width of the feature layer.
    seed : int
        Decides weights and batches.
    device : str
        Where it is trained.
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    ImageClassifier
        In eval mode. About 98.5 % of new 8 x 8 digits are right after 800 steps (4 s of a CPU).
    """
    images = torch.from_numpy(rows("x", x)).float()
    classes = torch.as_tensor(np.asarray(labels)).long()
    check_shape("labels", classes.shape, (len(images),))
    with seeded(derive(seed, "classifier")):
        net = ImageClassifier(shape, int(classes.max()) + 1, n_features=n_features)
    order = torch.Generator().manual_seed(derive(seed, "batches"))

    def epoch(number: int) -> list[tuple[Tensor, Tensor]]:
        mixed = torch.randperm(len(images), generator=order)
        return [(images[at], classes[at]) for at in mixed.split(batch) if len(at) > 1]

    def loss(model: nn.Module, pair: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(pair[0]), pair[1])

    fit(
        net, loss, epoch, steps=steps, learning_rate=learning_rate, seed=seed, device=device,
        schedule=cosine_decay(steps), progress=progress,
    )  # fmt: skip
    return net.eval()
