"""Where the float32 graph comes from: an .onnx file, taken as it is, or a PyTorch model, which is exported.

An origin is opened, and tried on one sample, before anything is written: what is wrong with model, weights or data is found
while an earlier run's results are still whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldpress.data import Array, Dataset, check_finite, fit_inputs
from foldpress.errors import RequestError
from foldpress.graph import input_specs, load_graph, output_names, save_graph
from foldpress.runtime import open_session, run


@dataclass(frozen=True)
class Origin:
    """A model that runs on the data.

    `dataset` goes by the names of the graph's inputs, `outputs` are those of its first sample, `names` what the outputs are
    called, in PyTorch by position, and `export` writes the float32 graph to a path and gives what parity with PyTorch found on
    the samples that it is handed, or None where there is no PyTorch. `model` is the torch.nn.Module, or the graph.
    """

    dataset: Dataset
    outputs: list[Array]
    names: list[str]
    model: Any
    export: Callable[[Path, Dataset], dict[str, Any] | None]


def open_origin(source: str, weights: str | None, folder: Path, dataset: Dataset) -> Origin:
    """Open `module:callable` or an .onnx file, and try it on the first sample. Only a PyTorch model needs torch.

    Raises:
        RequestError: source, weights or data are wrong, or the model raises.
    """
    if source.endswith(".onnx"):
        if weights is not None:
            raise RequestError(
                "weights go with module:callable; an .onnx file holds its own",
                mend="leave --weights or [model] weights out",
            )
        return _from_graph(folder / Path(source).expanduser(), dataset)
    return _from_module(source, weights, folder, dataset)


def _from_graph(path: Path, dataset: Dataset) -> Origin:
    graph = load_graph(path)
    dataset = fit_inputs(dataset, input_specs(graph))
    outputs = run(open_session(graph), dataset.batch(slice(0, 1)))
    return Origin(dataset, outputs, output_names(graph), graph, lambda target, _: save_graph(graph, target))


def _from_module(source: str, weights: str | None, folder: Path, dataset: Dataset) -> Origin:
    from foldpress.exporter.export import export_model
    from foldpress.exporter.parity import torch_outputs
    from foldpress.exporter.source import build_model, check_float_type, fit_names

    for name, array in dataset.inputs.items():
        check_finite(name, array)
    model = build_model(source, weights, folder)
    dataset = fit_names(model, dataset)
    check_float_type(model, dataset)
    outputs = torch_outputs(model, dataset.select(np.arange(1)))

    def export(target: Path, samples: Dataset) -> dict[str, Any]:
        exported = export_model(model, samples)
        save_graph(exported.graph, target)
        return exported.parity.as_json()

    return Origin(dataset, outputs, list(map(str, range(len(outputs)))), model, export)


def parity_log(parity: dict[str, Any] | None) -> list[dict[str, str]]:
    """What parity with PyTorch found, as log entries; none where the graph came as it is."""
    if parity is None:
        return []
    batches = " and ".join(map(str, parity["batches"]))
    return [
        {
            "pass": "export",
            "subject": one["output"],
            "action": "done",
            "detail": f"deviates from PyTorch by at most {one['largest']:.3g}, {one['mean']:.3g} on average, over "
            f"{parity['samples']} samples at batch {batches}; float rounding explains {one['tolerance']:.3g}; "
            f"predictions that differ: {', '.join(map(str, parity['differing'])) or 'none'}",
        }
        for one in parity["outputs"]
    ]
