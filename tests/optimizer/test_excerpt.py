import numpy as np
import onnx_ir as ir
import pytest

from foldpress.errors import RequestError
from foldpress.graph import input_specs, serialize
from foldpress.optimizer.excerpt import at_width, excerpt, find_again, signature
from foldpress.optimizer.groups import find_groups
from foldpress.runtime import open_session
from topologies import Weights, graph

RNG = np.random.default_rng(0)
WEIGHTS: Weights = {"w": (8, 3, 3, 3), "v": (8, 8, 3, 3), "u": (8, 8, 3, 3), "t": (5, 8, 1, 1)}


def block(kernel: int = 3) -> ir.Model:
    """A convolution, a residual block around `b`, and a last convolution."""
    pads = "pads = [1, 1, 1, 1]"
    body = f"""a = Conv<{pads}>(x, w) ra = Relu(a) b = Conv<{pads}>(ra, v) rb = Relu(b) c = Conv<{pads}>(rb, u)
               s = Add(ra, c) rs = Relu(s) y = Conv(rs, t)"""
    return graph(body, WEIGHTS | {"v": (8, 8, kernel, kernel)})


def run(model: ir.Model, feed: dict[str, np.ndarray], names: list[str] | None = None) -> list[np.ndarray]:
    return list(open_session(serialize(model)).run(names, feed))


def part_of(model: ir.Model, name: str) -> ir.Model:
    return excerpt(model, next(group for group in find_groups(model)[0] if group.name == name))


def test_an_excerpt_computes_what_the_network_does_there() -> None:
    """Catches: a node left out, or an input taken for a stored weight."""
    model = block()
    part = part_of(model, "b")
    ends = [str(value.name) for value in (*part.graph.inputs, *part.graph.outputs)]
    assert ends == ["ra", "s"]
    values = {str(value.name): value for node in model.graph for value in node.outputs}
    model.graph.outputs.extend(values[name] for name in ends)
    _, before, after = run(model, {"x": RNG.normal(size=(2, 3, 6, 6)).astype(np.float32)})
    np.testing.assert_allclose(run(part, {"ra": before})[0], after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [8, 4, 0])
def test_every_width_runs_with_the_same_ends(channels: int) -> None:
    """Catches: a cut that breaks the excerpt, or none at all; the branch that stays when all its channels go."""
    part = part_of(block(), "b")
    cut = at_width(part, "b", channels)
    assert list(map(str, input_specs(cut))) == list(map(str, input_specs(part)))
    assert run(cut, {"ra": np.ones((1, 8, 6, 6), np.float32)})[0].shape == (1, 8, 6, 6)
    kernels = [list(value.shape or ()) for value in cut.graph.initializers.values()]
    assert ([channels, 8, 3, 3] in kernels) == (channels > 0)
    assert part.graph.initializers["v"].shape == [8, 8, 3, 3]


def test_the_signature_tells_what_changes_the_time() -> None:
    """Catches: two layers that share a time though they differ, or none that ever share one."""
    same, other = part_of(block(), "b"), part_of(block(), "b")
    for number, node in enumerate(other.graph):
        node.name = f"renamed {number}"
    assert signature(same) == signature(other)
    assert len({signature(one) for one in (same, part_of(block(1), "b"), at_width(same, "b", 4), block())}) == 4
    assert signature(same, ["b"]) == signature(same, ["b", "elsewhere"]) != signature(same)
    assert signature(same, ["Conv"]) not in (signature(same), signature(same, ["b"]))
    strided = block()
    next(node for node in strided.graph if node.name == "b").attributes["dilations"] = ir.AttrInt64s(
        "dilations", [1, 1]
    )
    assert signature(part_of(strided, "b")) != signature(same)


def test_what_cannot_be_made_up_is_told() -> None:
    """Catches: random numbers fed where a shape is expected."""
    body = "a = Gather(w, x) r = Relu(a) y = MatMul(r, v)"
    model = graph(body, {"w": (9, 8), "v": (8, 5)}, "int64[N, 4]", "float[N, 4, 5]")
    with pytest.raises(RequestError, match="x, which it reads, is no float tensor of known shape"):
        part_of(model, "a")


def test_a_group_is_found_again_or_told_missing() -> None:
    """Catches: another group cut in its place, because names are given anew in an excerpt."""
    model = block()
    groups = {group.name: group for group in find_groups(model)[0]}
    part = excerpt(model, groups["b"])
    assert find_again(part, groups["b"]).channels == 8
    with pytest.raises(RequestError, match="0 groups"):
        find_again(part, groups["a"])
