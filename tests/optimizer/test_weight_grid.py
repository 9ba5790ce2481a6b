import numpy as np
from onnx import TensorProto
from onnxruntime.quantization.quant_utils import quantize_data

from foldpress.optimizer.weight_grid import grid_scales, rounded


def test_is_the_quantizers_own_grid() -> None:
    """Catches: scales or integers that differ from onnxruntime's in any bit, an output of zeros included."""
    weight = np.random.default_rng(0).normal(size=(1, 50, 7)).astype(np.float32)
    weight[0, 3] = 0
    for levels, reduce_range in ((127, False), (64, True)):
        found, scales = rounded(weight.astype(np.float64), levels), grid_scales(weight.astype(np.float64), levels)
        for row in range(50):
            _, scale, integers = quantize_data(weight[0, row], TensorProto.INT8, True, reduce_range=reduce_range)
            assert scales[0, row, 0].tobytes() == scale.tobytes()
            np.testing.assert_array_equal(found[0, row], (integers.astype(np.float32) * scale).astype(np.float64))
