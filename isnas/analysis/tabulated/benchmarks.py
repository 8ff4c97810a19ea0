"""What the tabulated benchmarks are: a space, networks of a size, images, and how an architecture is trained."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

from isnas.base.random import generator
from isnas.space.cells.space import CellSpace
from isnas.space.connections import Support

#: Connections of a node.
SPARSENESS = 2


@dataclass(frozen=True)
class Benchmark:
    """A small space on small images: one cell of two nodes, used as normal and as reduction cell.

    A network of ``layers`` cells and ``init_channels`` is trained on ``max_train_images`` images (None: all), which are
    scaled to ``image_size`` and not augmented, for ``epochs`` by SGD with momentum 0.9, weight decay 3e-4, batches of
    64, gradients cut at norm 5, and a learning rate that falls from 0.025 to 0 as a cosine over the steps; it is scored
    on all test images after the last step. ``seeds`` networks of each architecture are trained.
    """

    name: str
    dataset: str
    image_size: int
    operations: tuple[str, ...]
    epochs: int
    seeds: int
    shown: str
    max_train_images: int | None = None
    num_nodes: int = 2
    init_channels: int = 2
    layers: int = 3
    batch_size: int = 64

    @property
    def space(self) -> CellSpace:
        """The cells."""
        return CellSpace(self.operations, self.num_nodes, reduction=False)

    @property
    def supports(self) -> list[Support]:
        """All cells, in the order that gives each its number."""
        nodes = [list(combinations(range(size), SPARSENESS)) for size in self.space.sizes]
        return list(product(*nodes))

    @property
    def order(self) -> list[int]:
        """The numbers of all cells in the fixed random order in which they are trained: a prefix is a sample."""
        import torch  # the names of benchmarks are needed without it

        return torch.randperm(len(self.supports), generator=generator(0, "tabulated", self.name)).tolist()

    @property
    def settings(self) -> dict[str, Any]:
        """The options of a search in this space on these images, with networks of this size."""
        size = {} if self.max_train_images is None else {"max_train_images": self.max_train_images}
        images = {"dataset": self.dataset, "image_size": self.image_size, "crop_padding": 0, "flip": "never"} | size
        cells = {"operations": self.operations, "num_nodes": self.num_nodes, "shared_cell": True}
        return images | cells | {"init_channels": self.init_channels, "layers": self.layers}


_BENCHMARKS = (
    Benchmark(
        name="mini",
        dataset="fashion_mnist",
        image_size=10,
        operations=("avg_pool_3x3", "skip_connect", "sep_conv_3x3"),
        max_train_images=8000,
        epochs=3,
        seeds=4,
        shown="Fashion-MNIST at 10 x 10, 540 cells of 3 operations",
    ),
    Benchmark(
        name="mini_dil",
        dataset="fashion_mnist",
        image_size=10,
        operations=("avg_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"),
        max_train_images=8000,
        epochs=3,
        seeds=2,
        shown="Fashion-MNIST at 10 x 10, 1,848 cells of 4 operations",
    ),
    Benchmark(
        name="mini_digits",
        dataset="digits",
        image_size=8,
        operations=("max_pool_3x3", "skip_connect", "dil_conv_3x3"),
        epochs=8,
        seeds=2,
        shown="scikit-learn's digits at 8 x 8, 540 cells of 3 other operations",
    ),
)

#: By name.
BENCHMARKS = {each.name: each for each in _BENCHMARKS}
