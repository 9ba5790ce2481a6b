"""`[quantize]`: integer types by target, ranges from calibration samples."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from foldpress.errors import RequestError
from foldpress.precision import PrecisionName, choose_precision
from foldpress.tables.fields import Count, Table
from foldpress.weight_passes import choose_weights


class QuantizeTable(Table):
    """What the graph that ships holds and computes in."""

    target: Literal["auto", "x86-vnni", "x86", "arm", "tensorrt", "qnn"] = "auto"
    precision: PrecisionName = "auto"
    bits: Annotated[int, Field(ge=1, le=8, strict=True)] | None = None
    calibration: Literal["auto", "minmax", "percentile", "entropy", "mse"] = "auto"
    samples: Count = 512
    keep_float: tuple[str, ...] = ()
    float_macs: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    weight_passes: str | tuple[str, ...] = "auto"
    keep_metadata: bool = False

    @model_validator(mode="after")
    def _options_go_together(self) -> "QuantizeTable":
        try:
            choose_precision(self.precision, self.bits, self.calibration, self.keep_float, self.float_macs)
            choose_weights(self.weight_passes, self.precision)
        except RequestError as error:
            raise ValueError(str(error)) from error
        return self
