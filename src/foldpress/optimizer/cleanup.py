"""The generic clean-up, by onnxscript's and onnx-ir's own passes: none of it changes what the graph computes."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes.common import (
    ClearMetadataAndDocStringPass,
    CommonSubexpressionEliminationPass,
    DeduplicateInitializersPass,
    IdentityEliminationPass,
    NameFixPass,
    RemoveUnusedNodesPass,
    TopologicalSortPass,
)
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.rules.common import (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
    fuse_pad_into_conv_rule,
)

from foldpress.contrib import infer_shapes
from foldpress.optimizer.einsum_products import multiply_instead
from foldpress.optimizer.passes import LogEntry, Pass, PassResult

_FUSIONS = [
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
    fuse_pad_into_conv_rule,
]

# Weights that an exporter slices and joins again (LSTM gates) are constants too, however large; a bound on memory.
_FOLDED_ELEMENTS = 2**26


@dataclass(frozen=True)
class CleanUp:
    """One of the libraries' own passes, with a log of the operators that it removed or added."""

    name: str
    change: Callable[[ir.Model], ir.Model]

    def __call__(self, model: ir.Model) -> PassResult:
        """Apply it; operators that come and go are logged."""
        before = Counter(node.op_type for node in model.graph)
        model = self.change(model)
        after = Counter(node.op_type for node in model.graph)
        moved = [f"{n} {name}" for name, n in sorted((before - after).items())]
        gained = [f"{n} {name}" for name, n in sorted((after - before).items())]
        if not moved and not gained:
            return PassResult(model)
        detail = f"removed {', '.join(moved) or 'nothing'}; added {', '.join(gained) or 'nothing'}"
        return PassResult(model, (LogEntry(self.name, "graph", "done", detail),))


def clean_up() -> Sequence[Pass]:
    """Fold constants and batch normalization, drop what nothing uses, give every tensor a shape and every node a name."""
    return [
        CleanUp("drop-metadata", _by(ClearMetadataAndDocStringPass())),
        CleanUp("fold-constants", _fold_constants),
        CleanUp("einsum-to-matmul", multiply_instead),
        CleanUp("fold-batch-norm", _fuse),
        CleanUp("remove-identity", _by(IdentityEliminationPass())),
        CleanUp("share-common-nodes", _by(CommonSubexpressionEliminationPass())),
        CleanUp("share-weights", _by(DeduplicateInitializersPass())),
        CleanUp("remove-dead-nodes", _by(RemoveUnusedNodesPass())),
        CleanUp("sort", _by(TopologicalSortPass())),
        CleanUp("name-nodes", _by(NameFixPass())),
        CleanUp("infer-shapes", _infer_shapes),
    ]


def _by(library_pass: ir.passes.PassBase) -> Callable[[ir.Model], ir.Model]:
    return lambda model: library_pass(model).model


def _infer_shapes(model: ir.Model) -> ir.Model:
    infer_shapes(model)
    return model


def _fold_constants(model: ir.Model) -> ir.Model:
    fold_constants(model, input_size_limit=_FOLDED_ELEMENTS, output_size_limit=_FOLDED_ELEMENTS)
    return model


def _fuse(model: ir.Model) -> ir.Model:
    fused: ir.Model = rewrite(model, pattern_rewrite_rules=_FUSIONS)
    return fused
