"""Random networks of the operators that channels are followed through, for property tests."""

from collections.abc import Callable

import onnx_ir as ir
from hypothesis import strategies as st

from topologies import Weights, graph

SIZE = 4  # of the image; every operator keeps it
INPUT = 6  # channels


class Builder:
    """Grows a network step by step; `tensors` are what has been made, [N, C, 4, 4], with the number of channels C."""

    def __init__(self, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self._draw = draw
        self.lines: list[str] = []
        self.weights: Weights = {}
        self.tensors: list[tuple[str, int]] = [("x", INPUT)]

    def pick(self, limit: int) -> int:
        return self._draw(st.integers(0, limit - 1))

    def tensor(self) -> tuple[str, int]:
        """The latest, mostly; else an earlier one."""
        return self.tensors[-1 - min(self.pick(6) // 3 * self.pick(3), len(self.tensors) - 1)]

    def emit(self, text: str, channels: int, **weights: tuple[int, ...] | int) -> str:
        """Add a line; {name} stands for a weight of that kind."""
        name = f"t{len(self.lines)}"
        names = {kind: f"{kind}_{name}" for kind in weights}
        self.weights |= {names[kind]: shape for kind, shape in weights.items()}
        self.lines.append(f"{name} = {text.format(**names)}")
        self.tensors.append((name, channels))
        return name

    def convolution(self) -> None:
        (name, channels), made = self.tensor(), 2 * (1 + self.pick(4))
        bias = {"b": (made,)} if self.pick(2) else {}
        size = (3, "pads=[1,1,1,1]") if self.pick(2) else (1, "pads=[0,0,0,0]")
        text = f"Conv<{size[1]}>({name}, {{w}}{', {b}' if bias else ''})"
        self.emit(text, made, w=(made, channels, size[0], size[0]), **bias)

    def grouped(self) -> None:
        name, channels = self.tensor()
        could = [n for n in (channels, channels // 2, 2) if n and channels % n == 0]
        groups = could[self.pick(len(could))]
        made = groups * (1 + self.pick(2))
        text = f"Conv<group={groups}, pads=[1,1,1,1]>({name}, {{w}}, {{b}})"
        self.emit(text, made, w=(made, channels // groups, 3, 3), b=(made,))

    def transposed(self) -> None:
        (name, channels), made = self.tensor(), 2 * (1 + self.pick(3))
        self.emit(f"ConvTranspose<pads=[1,1,1,1]>({name}, {{w}})", made, w=(channels, made, 3, 3))

    def activation(self) -> None:
        name, channels = self.tensor()
        kinds = ["Relu({})", "Sigmoid({})", "Mul({0}, {{s}})", "Add({0}, {{s}})", "Elu({})"]
        kind = kinds[self.pick(len(kinds))]
        scale = {"s": (1, channels, 1, 1)} if "{s}" in kind else {}
        self.emit(kind.format(name), channels, **scale)

    def normalization(self) -> None:
        name, channels = self.tensor()
        four = dict.fromkeys(("s", "o", "m", "var"), (channels,))
        self.emit(f"BatchNormalization({name}, {{s}}, {{o}}, {{m}}, {{var}})", channels, **four)

    def pooling(self) -> None:
        name, channels = self.tensor()
        self.emit(f"MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>({name})", channels)

    def residual(self) -> None:
        """A sum with whatever has as many channels, or with what is padded to have as many."""
        name, channels = self.tensor()
        other, fewer = self.tensors[self.pick(len(self.tensors))]
        if fewer > channels:
            name, channels, other, fewer = other, fewer, name, channels
        if fewer < channels:
            before = self.pick(channels - fewer + 1)
            other = self.emit(
                f"Pad({other}, {{index}})", channels, index=(0, before, 0, 0, 0, channels - fewer - before, 0, 0)
            )
        self.emit(f"Add({name}, {other})", channels)

    def joined(self) -> None:
        parts = [self.tensors[self.pick(len(self.tensors))] for _ in range(2 + self.pick(2))]
        self.emit(f"Concat<axis=1>({', '.join(name for name, _ in parts)})", sum(count for _, count in parts))

    def sliced(self) -> None:
        name, channels = self.tensor()
        start = self.pick(channels)
        end = start + 1 + self.pick(channels - start)
        self.emit(
            f"Slice({name}, {{index}}, {{index_end}}, {{axes}})",
            end - start,
            index=(start,),
            index_end=(end,),
            axes=(1,),
        )

    def gathered(self) -> None:
        name, channels = self.tensor()
        picked = tuple(self.pick(channels) for _ in range(1 + self.pick(channels)))
        self.emit(f"Gather<axis=1>({name}, {{index}})", len(picked), index=picked)

    def shuffled(self) -> None:
        name, channels = self.tensor()
        if channels % 2 == 0:
            split = self.emit(f"Reshape({name}, {{shape}})", 0, shape=(0, 2, channels // 2, SIZE, SIZE))
            moved = self.emit(f"Transpose<perm=[0,2,1,3,4]>({split})", 0)
            del self.tensors[-2:]
            self.emit(f"Reshape({moved}, {{shape}})", channels, shape=(-1, channels, SIZE, SIZE))

    def excitation(self) -> None:
        name, channels = self.tensor()
        pooled = self.emit(f"GlobalAveragePool({name})", 0)
        inner = self.emit(f"Conv({pooled}, {{w}}, {{b}})", 0, w=(4, channels, 1, 1), b=(4,))
        outer = self.emit(f"Conv({inner}, {{w}})", 0, w=(channels, 4, 1, 1))
        gate = self.emit(f"Sigmoid({outer})", 0)
        del self.tensors[-4:]
        self.emit(f"Mul({name}, {gate})", channels)

    def places(self) -> None:
        name, channels = self.tensor()
        if channels % 4 == 0:
            wide = self.emit(f"DepthToSpace<blocksize=2>({name})", 0)
            del self.tensors[-1]
            self.emit(f"SpaceToDepth<blocksize=2>({wide})", channels)

    def tokens(self) -> None:
        """Places become tokens: attention with two heads, an LSTM or a perceptron, by several operators; then back."""
        name, channels = self.tensor()
        flat = self.emit(f"Reshape({name}, {{shape}})", 0, shape=(0, channels, SIZE * SIZE))
        rows = self.emit(f"Transpose<perm=[0,2,1]>({flat})", 0)
        kinds = self._attention, self._fused, self._recurrent, self._perceptron, self._equation
        made = kinds[self.pick(len(kinds))](rows, channels)
        columns = self.emit(f"Transpose<perm=[0,2,1]>({made})", 0)
        self.tensors = [pair for pair in self.tensors if pair[1]]
        self.emit(f"Reshape({columns}, {{shape}})", channels, shape=(0, channels, SIZE, SIZE))

    def _perceptron(self, rows: str, channels: int) -> str:
        inner = self.emit(f"MatMul({rows}, {{w}})", 0, w=(channels, 8))
        bias = self.emit(f"Add({inner}, {{b}})", 0, b=(8,))
        active = self.emit(f"Relu({bias})", 0)
        outer = self.emit(f"MatMul({active}, {{w}})", 0, w=(8, channels))
        return self.emit(f"Add({outer}, {rows})", 0) if self.pick(2) else outer

    def _attention(self, rows: str, channels: int) -> str:
        heads = []
        for order in ("0,2,1,3", "0,2,3,1", "0,2,1,3"):
            made = self.emit(f"MatMul({rows}, {{w}})", 0, w=(channels, 8))
            split = self.emit(f"Reshape({made}, {{shape}})", 0, shape=(0, 0, 2, 4))
            heads.append(self.emit(f"Transpose<perm=[{order}]>({split})", 0))
        scores = self.emit(f"MatMul({heads[0]}, {heads[1]})", 0)
        soft = self.emit(f"Softmax<axis=-1>({scores})", 0)
        mixed = self.emit(f"MatMul({soft}, {heads[2]})", 0)
        moved = self.emit(f"Transpose<perm=[0,2,1,3]>({mixed})", 0)
        joined = self.emit(f"Reshape({moved}, {{shape}})", 0, shape=(0, 0, 8))
        return self.emit(f"MatMul({joined}, {{w}})", 0, w=(8, channels))

    def _fused(self, rows: str, channels: int) -> str:
        text = f"com.microsoft.Attention<num_heads=2>({rows}, {{w}}, {{b}})"
        mixed = self.emit(text, 0, w=(channels, 24), b=(24,))
        return self.emit(f"MatMul({mixed}, {{w}})", 0, w=(8, channels))

    def _equation(self, rows: str, channels: int) -> str:
        inner = self.emit(f'Einsum<equation="nsc,ced->nsed">({rows}, {{w}})', 0, w=(channels, 2, 4))
        active = self.emit(f"Relu({inner})", 0)
        return self.emit(f'Einsum<equation="nsed,edc->nsc">({active}, {{w}})', 0, w=(2, 4, channels))

    def _recurrent(self, rows: str, channels: int) -> str:
        kind, gates = (("LSTM", 4), ("GRU", 3))[self.pick(2)]
        ways = 1 + self.pick(2)
        way = "bidirectional" if ways == 2 else "forward"
        text = f'{kind}<hidden_size=4, direction="{way}">({rows}, {{w}}, {{r}})'
        units = self.emit(text, 0, w=(ways, 4 * gates, channels), r=(ways, 4 * gates, 4))
        moved = self.emit(f"Transpose<perm=[0,2,1,3]>({units})", 0)
        joined = self.emit(f"Reshape({moved}, {{shape}})", 0, shape=(0, 0, 4 * ways))
        return self.emit(f"MatMul({joined}, {{w}})", 0, w=(4 * ways, channels))


STEPS = [name for name, made in vars(Builder).items() if callable(made) and not name.startswith("_")]
STEPS = [name for name in STEPS if name not in ("pick", "tensor", "emit")]


@st.composite
def networks(draw: Callable[[st.SearchStrategy[int]], int]) -> ir.Model:
    """Three to ten steps between an image and five outputs a place, or one for each image and output."""
    builder = Builder(draw)
    for _ in range(3 + builder.pick(8)):
        getattr(builder, STEPS[builder.pick(len(STEPS))])()
    name, channels = builder.tensors[-1]
    builder.weights["w_y"] = (5, channels, 1, 1)
    body = "  ".join([*builder.lines, f"y = Conv({name}, w_y)"])
    return graph(body, builder.weights, f"float[N, {INPUT}, {SIZE}, {SIZE}]", f"float[N, 5, {SIZE}, {SIZE}]")
