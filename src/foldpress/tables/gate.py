"""`[gate]`: the limits."""

from typing import Annotated

from pydantic import Field

from foldpress.errors import RecipeError
from foldpress.tables.fields import Bytes, Limit, Milliseconds, Table


class GateTable(Table):
    """Each limit is optional; at least one must be there."""

    max_drop: Limit | None = None
    confidence: Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)] = 0.95
    max_flips: Limit | None = None
    max_class_drop: Limit | None = None
    max_metric_drop: Limit | None = None
    min_speedup: Limit | None = None
    max_bytes: Bytes | None = None
    max_latency_p90: Milliseconds | None = None
    max_disagreement: Limit | None = None

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        given = self.model_dump(exclude={"confidence"}, exclude_none=True)
        return {name: float(limit) for name, limit in given.items()}

    def required(self) -> "GateTable":
        """Itself, when at least one limit is set.

        Raises:
            RecipeError: a gate without a limit would let everything through.
        """
        if not self.limits():
            raise RecipeError(
                "no limit is set: a gate without one would let everything through",
                available=", ".join(name for name in GateTable.model_fields if name != "confidence"),
                mend="set at least one, for example max_drop = 0.01",
            )
        return self
