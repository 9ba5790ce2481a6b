"""All forms, by name, and which of them each layer of a network may take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from foldpress.errors import RequestError
from foldpress.optimizer.factorize.depthwise import Depthwise
from foldpress.optimizer.factorize.form import Form, Rank, weight_shape
from foldpress.optimizer.factorize.kronecker import Kronecker
from foldpress.optimizer.factorize.low_rank import LowRank
from foldpress.optimizer.factorize.separable import Separable
from foldpress.optimizer.factorize.tucker import Tucker
from foldpress.optimizer.gram import MAX_FEATURES, features
from foldpress.optimizer.layers import Layer, weighted_layers

Method = Literal["auto", "low-rank", "separable", "tucker", "depthwise", "kronecker"]

FORMS: tuple[Form, ...] = (LowRank(), Separable(), Tucker(), Depthwise(), Kronecker())


@dataclass(frozen=True)
class Option:
    """A form with a rank."""

    form: Form
    rank: Rank

    def __str__(self) -> str:
        return f"{self.form.name} {'×'.join(map(str, self.rank))}"


def factorizable(
    model: ir.Model, method: Method = "auto", protect: Sequence[str] = ()
) -> tuple[dict[str, tuple[Layer, list[Option]]], list[tuple[str, str]]]:
    """Layers that have options, by name, and for every other weighted layer its name and the reason why it has none.

    Raises:
        RequestError: `protect` names a layer that there is not.
    """
    layers, declined = weighted_layers(model)
    names = [*(layer.name for layer in layers), *(name for name, _ in declined)]
    if unknown := sorted(set(protect) - set(names)):
        raise RequestError(f"protect: there is no layer {', '.join(unknown)}", available=", ".join(names))
    found = {}
    for layer in layers:
        options, reason = _options(layer, method)
        if layer.name in protect:
            declined.append((layer.name, "it is to stay as it is"))
        elif options:
            found[layer.name] = layer, options
        else:
            declined.append((layer.name, reason))
    return found, declined


def _options(layer: Layer, method: Method) -> tuple[list[Option], str]:
    """Every form and rank that a layer may take, and why there is none."""
    if (width := features(layer.slot)) > MAX_FEATURES:
        return [], f"it sums over {width} features; at most {MAX_FEATURES} are factorized"
    forms = [form for form in FORMS if method in ("auto", form.name)]
    reasons = {form: form.why_not(layer) for form in forms}
    options = [Option(form, rank) for form in forms if not reasons[form] for rank in form.ranks(weight_shape(layer))]
    if None in reasons.values():
        return options, "at every rank its factors would have as many parameters"
    return [], str(reasons[forms[0]])
