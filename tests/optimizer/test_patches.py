"""What a convolution reads, and where: against torch's own unfolding, and the transpose against the map itself."""

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
import torch

from foldpress.optimizer.groups import Slot
from foldpress.optimizer.patches import columns, spread

RNG = np.random.default_rng(0)


def slot(weight: tuple[int, ...], attributes: str = "", operator: str = "Conv") -> Slot:
    """The weight of a layer."""
    sizes = (
        ["N", *(str(size) for size in (weight[1], *[9] * (len(weight) - 2)))]
        if operator == "Conv"
        else ["N", "7", str(weight[0])]
    )
    text = f"""<ir_version: 9, opset_import: ["" : 18]> g (float[{", ".join(sizes)}] x) => (float[M] y)
        {{ y = {operator}{attributes}(x, w) }}"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(weight, np.float32), "w"))
    return Slot(ir.from_proto(proto).graph.node(0), 1, 1 if operator == "Conv" else 0)


@pytest.mark.parametrize(
    ("weight", "attributes"),
    [
        ((4, 3, 3, 3), "<pads=[1,1,1,1]>"),
        ((4, 3, 3, 2), "<strides=[2,3], pads=[0,1,2,0]>"),
        ((4, 3, 2, 3), "<dilations=[3,2]>"),
        ((4, 3, 3, 3), '<auto_pad="SAME_LOWER", strides=[2,2]>'),
        ((4, 3, 4), "<pads=[2,1], strides=[2]>"),
        ((4, 3, 1, 1), "<strides=[2,2]>"),
    ],
)
@pytest.mark.parametrize("channels", [3, 2])
def test_numbers_go_back_to_where_they_were_read(weight: tuple[int, ...], attributes: str, channels: int) -> None:
    """Catches: taps, strides or pads mixed up, and places at the border, in the transpose; a layer's own number of channels."""
    one = slot(weight, attributes)
    x = RNG.normal(size=(5, channels, *[9] * (len(weight) - 2))).astype(np.float32)
    found = columns(one, x)
    rows = RNG.normal(size=found.shape).astype(np.float32)
    back = spread(one, rows, x.shape)
    assert back.shape == x.shape
    assert float((back * x).sum(dtype=np.float64)) == pytest.approx(
        float((found * rows).sum(dtype=np.float64)), rel=1e-4
    )


def test_patches_are_those_that_torch_unfolds() -> None:
    """Catches: another order of places or taps than the flattened weight has."""
    x = RNG.normal(size=(5, 3, 9, 9)).astype(np.float32)
    wanted = torch.nn.functional.unfold(torch.from_numpy(x), 3, padding=1, stride=2).transpose(1, 2).reshape(-1, 27)
    np.testing.assert_array_equal(columns(slot((4, 3, 3, 3), "<pads=[1,1,1,1], strides=[2,2]>"), x), wanted)


def test_a_matrix_reads_the_last_axis() -> None:
    """Catches: another axis, or another shape on the way back."""
    x = RNG.normal(size=(5, 7, 6)).astype(np.float32)
    one = slot((6, 4), operator="MatMul")
    np.testing.assert_array_equal(columns(one, x), x.reshape(35, 6))
    np.testing.assert_array_equal(spread(one, columns(one, x), x.shape), x)
