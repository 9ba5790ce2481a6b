"""`[share]`: how many values the weights of a layer share."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpress.codebook_tuning import Tuning
from foldpress.optimizer.share import Share
from foldpress.tables.fields import Count, Table
from foldpress.tables.quantize import QuantizeTable
from foldpress.weight_passes import KEEP_VALUES, choose_weights

Bits = Annotated[int, Field(ge=1, le=8, strict=True)]

_BITS = {"binary": 1, "ternary": 2}


class ShareTable(Table):
    """Codebooks of `bits`, or binary or ternary weights, which say their bits by name."""

    bits: Bits = 4
    per: Literal["tensor", "channel"] = "tensor"
    method: Literal["kmeans", "binary", "ternary"] = "kmeans"
    keep_float: tuple[str, ...] = ()
    layers: dict[str, Bits] = Field(default_factory=dict)
    epochs: Count | None = None

    @model_validator(mode="after")
    def _bits_of_the_method(self) -> "ShareTable":
        fixed = _BITS.get(self.method, self.bits)
        if "bits" in self.model_fields_set and self.bits != fixed:
            raise ValueError(f"method = {self.method!r} has {fixed} bit{'s' * (fixed > 1)}; leave bits out")
        if self.layers and self.method != "kmeans":
            raise ValueError(
                f"method = {self.method!r} has {fixed} bit{'s' * (fixed > 1)} everywhere; leave layers out"
            )
        return self

    @model_validator(mode="after")
    def _values_that_can_learn(self) -> "ShareTable":
        if self.epochs is not None and (self.method != "kmeans" or self.per != "tensor" or self.keep_float):
            raise ValueError("epochs: what learns are the values of every tensor; leave method, per and keep_float out")
        return self

    def check_with(self, quantize: QuantizeTable) -> None:
        """Refuse what would take shared values apart again, with a ValueError."""
        if quantize.precision != "static":
            raise ValueError(
                f"[share] with [quantize] precision = {quantize.precision!r} would round shared values to others; leave "
                '[quantize] out, or set precision = "static", for which the values that are shared are integers'
            )
        if self.method == "kmeans" and self.per == "channel":
            raise ValueError('[share] per = "channel" with static int8: its channels have scales; set per = "tensor"')
        passes = choose_weights(quantize.weight_passes) or ()
        if moving := set(passes) - set(KEEP_VALUES):
            raise ValueError(
                f"[share] with weight_passes {', '.join(sorted(moving))}: they move shared values; leave them out"
            )

    def asked(self) -> Share:
        """The same as the optimizer takes it."""
        return Share(**self.model_dump(exclude={"epochs"}))

    def tuning(self) -> Tuning | None:
        """What `[finetune]` goes on with, once its masks are final."""
        return None if self.epochs is None else Tuning(self.bits, self.epochs, self.layers)
