"""PyTorch to ONNX by the maintained exporter, with a free sample axis, and compared on real samples."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from foldpress.data import Array, Dataset
from foldpress.errors import ModelError
from foldpress.exporter.parity import Parity, compare, tolerances, torch_outputs
from foldpress.exporter.source import as_tensors, build_model, check_float_type, fit_names
from foldpress.runtime import open_session, predict

# The operator set that PyTorch's exporter writes without converting; per-channel Q/DQ needs 13 or later.
OPSET = 18
# Two samples: with one, the exporter would take the sample axis for a constant.
_EXPORTED_BATCH = 2
_PARITY_SAMPLES = 64
_PARITY_BATCHES = (1, 7)  # 1 is what edge devices run; 7 is neither that nor the exported size

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Exported:
    """A float graph and how closely it follows PyTorch."""

    graph: ir.Model
    parity: Parity


def export_source(source: str, weights: str | None, folder: Path, dataset: Dataset) -> Exported:
    """Build the model that `module:callable` names, load its weights, and export it; see `export_model`."""
    return export_model(build_model(source, weights, folder), dataset)


def export_model(model: torch.nn.Module, dataset: Dataset) -> Exported:
    """Export `model` and prove on samples of `dataset` that the graph computes the same.

    Raises:
        DataError: arrays that do not match forward's parameters.
        ModelError: forward raises, or PyTorch cannot export it; in the first case with the user's traceback.
        ParityError: the graph's outputs differ by more than rounding explains.
    """
    dataset = fit_names(model, dataset)
    check_float_type(model, dataset)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(_PARITY_SAMPLES, len(dataset))).astype(np.intp))
    samples = dataset.select(chosen)
    reference = torch_outputs(model, samples)
    graph = unverified(model, samples)
    runs = _graph_outputs(graph, samples)
    names = [str(value.name) for value in graph.graph.outputs]
    parity = compare(names, reference, runs, tolerances(model, samples, reference))
    return Exported(graph, parity)


def _graph_outputs(graph: ir.Model, samples: Dataset) -> dict[int, list[Array]]:
    """The graph's outputs by batch size; its session, which may be as large as the model, ends here."""
    session = open_session(graph)
    return {size: predict(session, samples, size, f"parity at batch {size}") for size in _PARITY_BATCHES}


def unverified(model: torch.nn.Module, samples: Dataset) -> ir.Model:
    """The exported graph, compared with nothing; for the rest, see `export_model`."""
    example = as_tensors(samples.batch(np.arange(_EXPORTED_BATCH) % len(samples)))
    batch = torch.export.Dim("batch")
    with _quiet() as said:
        try:
            program = torch.onnx.export(
                model,
                kwargs=example,
                input_names=list(example),
                dynamo=True,
                dynamic_shapes={name: {0: batch} for name in example},
                opset_version=OPSET,
                verbose=False,
            )
        except Exception as error:
            reason = str(error.__cause__ or error).strip().splitlines()
            raise ModelError(
                f"PyTorch cannot export this model: {' '.join(reason[:4])}",
                mend="make forward traceable: no data-dependent control flow, no fixed batch size",
            ) from error
    _logger.debug("the exporter said: %s", said.getvalue())
    if program is None:  # only when it was asked to write a file
        raise ModelError("PyTorch's exporter gave nothing back")
    return _without_traces(program.model)


def _without_traces(graph: ir.Model) -> ir.Model:
    """Drop the exporter's notes: they hold paths of this machine, so no two machines would give the same bytes."""
    return ClearMetadataAndDocStringPass()(graph).model


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keep the exporter's chatter off the terminal; what it said is yielded."""
    said = io.StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield said
    finally:
        logging.disable(before)
