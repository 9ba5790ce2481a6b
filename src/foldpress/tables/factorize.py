"""`[factorize]`: which forms weights may be factorized into, and down to which budget."""

from typing import Literal

from pydantic import model_validator

from foldpress.tables.fields import Positive, Share, Table

_BUDGETS = ("macs", "parameters", "bytes", "latency", "max_drop")


class FactorizeTable(Table):
    """A method, and exactly one budget."""

    method: Literal["auto", "low-rank", "separable", "tucker", "depthwise", "kronecker"] = "auto"
    macs: Share | None = None
    parameters: Share | None = None
    bytes: Share | None = None
    latency: Share | None = None
    max_drop: Positive | None = None
    protect: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_budget(self) -> "FactorizeTable":
        given = [name for name in _BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"factorize takes exactly one of {', '.join(_BUDGETS)}; given: {', '.join(given) or 'none'}"
            )
        return self
