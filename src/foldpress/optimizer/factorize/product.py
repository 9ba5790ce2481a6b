"""A weight that is a product of smaller tensors, written as Einstein sums do: "ri,mr->m|i" stands for Ŵ_mi = Σ_r A_mr B_ri.

What stands before the bar are the weight's rows, its outputs; behind it are its columns, its inputs. A label that no row or
column has is summed over.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Product:
    """Factors, each as its labels in `spec` say."""

    spec: str
    factors: tuple[Array, ...]

    def dense(self) -> Array:
        """Ŵ, [M, D]."""
        return self.put(self.factors)

    def put(self, factors: tuple[Array, ...]) -> Array:
        """Ŵ of other factors, whose rows may be others too; linear in each factor."""
        made = np.einsum(f"{self.inputs}->{self.rows}{self.columns}", *factors, optimize=True)
        return np.asarray(made.reshape(int(np.prod(made.shape[: len(self.rows)])), -1))

    def with_factor(self, number: int, factor: Array) -> "Product":
        """The same product with one factor exchanged."""
        return Product(self.spec, (*self.factors[:number], factor, *self.factors[number + 1 :]))

    def others(self, number: int) -> list[int]:
        """The numbers of all factors but one."""
        return [other for other in range(len(self.factors)) if other != number]

    @property
    def inputs(self) -> str:
        """The labels of all factors, with commas between."""
        return self.spec.split("->")[0]

    @property
    def labels(self) -> list[str]:
        """The labels of each factor."""
        return self.inputs.split(",")

    @property
    def rows(self) -> str:
        """The labels of the weight's outputs."""
        return self.spec.split("->")[1].split("|")[0]

    @property
    def columns(self) -> str:
        """The labels of the weight's inputs."""
        return self.spec.split("->")[1].split("|")[1]

    @property
    def sizes(self) -> dict[str, int]:
        """How many values each label takes."""
        pairs = (
            zip(labels, factor.shape, strict=True) for labels, factor in zip(self.labels, self.factors, strict=True)
        )
        return {label: size for pair in pairs for label, size in pair}

    @property
    def parameters(self) -> int:
        """Numbers in all factors."""
        return sum(factor.size for factor in self.factors)
