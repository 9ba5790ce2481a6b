"""The pass itself: rules in graph order, and a search for the choices under which most channels can go."""

from collections.abc import Callable

import onnx_ir as ir

from foldpress.matmul_nbits import DOMAIN
from foldpress.optimizer.follow import attention, einsum, layers, layout, pointwise, reshape
from foldpress.optimizer.follow.counts import Counts, follow_counts
from foldpress.optimizer.follow.following import Axes, Following, fixed, title
from foldpress.optimizer.follow.labels import Classes, Entangled
from foldpress.sample_shapes import sample_shapes

Rule = Callable[[Following, ir.Node], list[Axes]]

_POINTWISE = """Relu Sigmoid Tanh Clip LeakyRelu Elu Selu Celu HardSigmoid HardSwish Gelu Erf Softplus Softsign Mish Swish
    ThresholdedRelu Identity Dropout Neg Abs Sqrt Exp Log Reciprocal Sin Cos Floor Ceil Round Sign Cast Not IsNaN Shrink
    Add Sub Mul Div Pow PRelu Max Min Sum Mean Mod Where Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor"""
_POOLING = "MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool"
_REDUCTIONS = """ReduceMean ReduceMax ReduceMin ReduceSum ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum
    ReduceLogSumExp ArgMax ArgMin"""
_OVER_AXES = "Softmax LogSoftmax Hardmax LayerNormalization RMSNormalization LpNormalization"


RULES: dict[str, Rule] = {
    **dict.fromkeys(_POINTWISE.split(), pointwise.pointwise),
    **dict.fromkeys(_POOLING.split(), pointwise.pooling),
    **dict.fromkeys(_REDUCTIONS.split(), pointwise.reduction),
    **dict.fromkeys(_OVER_AXES.split(), layers.over_axes),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), layers.per_channel),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), layers.recurrent),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), reshape.reshape),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), layout.channels_to_places),
    "Conv": layers.convolution,
    "ConvTranspose": layers.transposed_convolution,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "Einsum": einsum.einsum,
    "Attention": attention.attention,
    "GroupNormalization": layers.group_normalization,
    "Shape": lambda _following, _node: [],  # see counts
    "CumSum": pointwise.along_axis,
    "Resize": pointwise.resized,
    "Concat": layout.concat,
    "Split": layout.split,
    "Gather": layout.gather,
    "Slice": layout.cut_out,
    "Pad": layout.pad,
    "Transpose": layout.transpose,
    "Expand": layout.expand,
    "Tile": layout.tile,
}
# Operators that onnxruntime adds to ONNX's own, mostly to put several into one.
CONTRIB_RULES: dict[str, Rule] = {
    **dict.fromkeys(("Gelu", "FastGelu", "BiasGelu", "QuickGelu"), pointwise.pointwise),
    "SkipLayerNormalization": layers.skip_normalization,
    "Attention": attention.packed_attention,
    "MultiHeadAttention": attention.multi_head_attention,
}


def follow(model: ir.Model) -> tuple[Following, Classes]:
    """Label every tensor of a graph with shapes.

    Where a labelled axis is split, the first of the new axes carries the labels; those under which no channel could go then pass
    them on to the next one, until nothing more can be tried.
    """
    shapes = sample_shapes(model)
    choices: dict[ir.Node, int] = {}
    while True:
        following = _followed(Following(model, shapes, choices))
        classes = following.labels.classes()
        stuck = [
            node
            for node, (count, labels) in following.splits.items()
            if choices.get(node, 0) + 1 < count and not classes.movable(labels)
        ]
        if not stuck:
            return following, classes
        choices = choices | {node: choices.get(node, 0) + 1 for node in stuck}


def _followed(following: Following) -> Following:
    counts: Counts = {}
    for node in following.model.graph:
        try:
            follow_counts(following, node, counts)
            results = _rule(node)(following, node)
        except Entangled as reason:
            _freeze_inputs(following, node, str(reason))
            results = []
        following.axes.update(zip(node.outputs, results, strict=False))
    for value in following.model.graph.outputs:
        following.labels.freeze(
            following.axes.get(value, []), f"they are those of {value.name}, an output of the graph"
        )
    return following


def _rule(node: ir.Node) -> Rule:
    rules = {"": RULES, "ai.onnx": RULES, DOMAIN: CONTRIB_RULES}.get(node.domain, {})
    if node.op_type not in rules:
        raise Entangled(f"{title(node)} needs all of them")
    return rules[node.op_type]


def _freeze_inputs(following: Following, node: ir.Node, why: str) -> None:
    """Those of graphs inside the node included."""
    for position in range(len(node.inputs)):
        following.labels.freeze(following.parameters.get((node, position), []), why)
    for value in [*node.inputs, *_captured(node)]:
        if value is not None and value in following.axes:
            following.labels.freeze(following.axes[value], why)
        elif value is not None and value.shape is not None and value.is_initializer():
            following.axes[value] = [fixed(size) for size in value.shape.numpy()]


def _captured(node: ir.Node) -> list[ir.Value | None]:
    inner = [attribute.as_graph() for attribute in node.attributes.values() if attribute.type == ir.AttributeType.GRAPH]
    return [value for graph in inner for one in graph for value in (*one.inputs, *_captured(one))]
