"""`[prune]`: what is cut, and down to which budget."""

from typing import Literal

from pydantic import Field, model_validator

from foldpress.tables.fields import Limit, Positive, Share, Table

_BUDGETS = {
    "structured": ("macs", "parameters", "bytes", "latency", "max_drop"),
    "unstructured": ("sparsity", "threshold"),
    "2:4": (),
}


class PruneTable(Table):
    """A method, and exactly one budget that it takes."""

    method: Literal["structured", "unstructured", "2:4"] = "structured"
    macs: Share | None = None
    parameters: Share | None = None
    bytes: Share | None = None
    latency: Share | None = None
    max_drop: Positive | None = None
    protect: tuple[str, ...] = ()
    score: Literal["obs", "activation", "magnitude", "l1"] = "obs"
    sparsity: Share | None = None
    threshold: Positive | None = None
    layers: dict[str, Limit] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_budget(self) -> "PruneTable":
        allowed = _BUDGETS[self.method]
        given = [name for names in _BUDGETS.values() for name in names if getattr(self, name) is not None]
        if not set(given) <= set(allowed) or len(given) != min(1, len(allowed)):
            wants = f"exactly one of {', '.join(allowed)}" if allowed else "no budget: it always leaves half"
            raise ValueError(f"method = {self.method!r} takes {wants}; given: {', '.join(given) or 'none'}")
        return self

    @model_validator(mode="after")
    def _layers_of_their_own(self) -> "PruneTable":
        if self.layers and self.method != "unstructured":
            raise ValueError(f"method = {self.method!r} takes no layers: they have no share of zeros of their own")
        if self.sparsity is not None and max(self.layers.values(), default=0) >= 1:
            raise ValueError(f"layers = {self.layers}: shares of zeros are below 1")
        return self

    @model_validator(mode="after")
    def _channels_to_choose(self) -> "PruneTable":
        for name in ("protect", "score"):
            if name in self.model_fields_set and self.method != "structured":
                raise ValueError(f"method = {self.method!r} takes no {name}: it removes no channels")
        return self
