"""Graphs that store tensors, and do nothing with them."""

from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


def graph(path: Path, *weights: NDArray[Any], external: bool = False) -> Path:
    """A graph that stores these tensors."""
    stored = [numpy_helper.from_array(weight, f"w{number}") for number, weight in enumerate(weights)]
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    value = helper.make_tensor_value_info
    inner = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, ["N"])], [value("y", TensorProto.FLOAT, ["N"])], stored
    )
    model = helper.make_model(inner, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data")
    return path
