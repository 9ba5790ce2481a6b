"""How a file holds weights that share values: for each weight the place of its value in a codebook.

    weight = Gather(codebook, Cast(places)),        or, where every channel has K values of its own,
    weight = Gather(codebook, Cast(places) + K · channel)

Plain ONNX: whatever runs it computes the weight once, as it loads the file. Places are unsigned integers of 2, 4 or 8 bits.
Where weights are zero, place 0 is zero, for all channels alike: zeros are counted, and coded, by their places.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from foldpress.graph import initializer

LARGEST = 256  # values of a codebook; more places take as much as floats of 16 bits

Floats = NDArray[np.float32]
Places = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Codebooks:
    """The values of P rows of weights, [P, K], and the place of each weight in those of its row, [P, n]."""

    values: Floats
    places: Places


def find_codebooks(rows: Floats) -> Codebooks | None:
    """The different values of each row of weights, [P, n], zero first and the others in order; None where they are too many.

    Rows with fewer values than others repeat their last one.
    """
    found = [np.unique(row) for row in rows]
    if max(map(len, found)) > LARGEST:
        return None
    zero = any(0 in one for one in found)
    others = [one[one != 0] if zero else one for one in found]
    size = max(map(len, others))
    if size + zero > LARGEST:
        return None
    values = np.zeros((len(rows), size + zero), np.float32)
    places = np.zeros(rows.shape, np.uint8)
    for number, (row, own) in enumerate(zip(rows, others, strict=True)):
        values[number, zero:] = np.pad(own, (0, size - len(own)), "edge") if len(own) else 0
        places[number] = np.where((row == 0) & zero, 0, np.searchsorted(own, row) + zero)
    return Codebooks(values, places)


def entropy(places: NDArray[Any]) -> float:
    """Bits of one place, where places are coded at best and independently of each other."""
    share = np.unique(places, return_counts=True)[1] / places.size
    return float(-(share * np.log2(share)).sum())


def stored_places(model: ir.Model, value: ir.Value | None) -> ir.Value | None:
    """The places behind a weight that is read from a codebook, or None where it is anything else."""
    gather = _producer(value, "Gather")
    if gather is None or initializer(model, gather.inputs[0]) is None:
        return None
    places = gather.inputs[1]
    if (add := _producer(places, "Add")) is not None and initializer(model, add.inputs[1]) is not None:
        places = add.inputs[0]
    cast = _producer(places, "Cast")
    return cast.inputs[0] if cast is not None and initializer(model, cast.inputs[0]) is not None else None


def codebook(model: ir.Model, places: ir.Value) -> Floats | None:
    """The values, [P · K], that stored places stand for, or None where the tensor is anything else."""
    for use in places.uses():
        reader = use.node
        while reader.op_type in ("Cast", "Add") and len(readers := list(reader.outputs[0].uses())) == 1:
            reader = readers[0].node
        if stored_places(model, reader.outputs[0]) is places:
            return initializer(model, reader.inputs[0])
    return None


def _producer(value: ir.Value | None, operator: str) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == operator else None
