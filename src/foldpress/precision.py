"""The precisions that `[quantize]` and `foldpress quantize` can be asked for, and which options go together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from foldpress.errors import RequestError, choose_from

PrecisionName = Literal["auto", "static", "dynamic", "weight-int8", "weight-int4", "weights", "float16"]


@dataclass(frozen=True)
class Precision:
    """A precision by name; `bits` goes with "weights" alone, and "auto" is settled by measurement."""

    name: PrecisionName = "auto"
    bits: int | None = None

    @property
    def learns(self) -> bool:
        """Whether it looks at data, and so must not see the fold that it is judged on."""
        return self.name in ("auto", "static", "float16")


def choose_precision(
    name: str,
    bits: int | None = None,
    calibration: str = "auto",
    keep_float: Sequence[str] = (),
    float_macs: float = 0.0,
    *,
    statistics: bool = False,
) -> Precision:
    """The precision of that name.

    Args:
        name: one of `PrecisionName`.
        bits: 1 to 8, for "weights".
        calibration: how ranges are chosen, which only "static" does.
        keep_float: what is to stay float, which only "static" can be asked for.
        float_macs: how much more may stay float, likewise.
        statistics: whether a file of statistics is named, which only "static" takes.

    Raises:
        RequestError: there is no such precision, or an option does not go with it.
    """
    names: tuple[PrecisionName, ...] = get_args(PrecisionName)
    chosen = Precision(choose_from(names, name, "there is no precision"), bits)
    if (bits is not None) != (name == "weights"):
        given = "without bits" if bits is None else f"with bits = {bits}"
        raise RequestError(
            f"precision = {name!r} {given}: bits goes with precision = 'weights', and must be given there",
            available='1 to 8 bits; "weight-int8" and "weight-int4" say theirs by name',
        )
    if bits is not None and bits not in range(1, 9):
        raise RequestError(f"weights cannot have {bits} bits", available="1 to 8")
    if name not in ("auto", "static"):
        _refuse_what_only_static_takes(name, calibration, keep_float, float_macs, statistics)
    return chosen


def _refuse_what_only_static_takes(
    name: str, calibration: str, keep_float: Sequence[str], float_macs: float, statistics: bool
) -> None:
    layers = "only static int8 leaves single layers float"
    given = {
        "calibration": (
            calibration != "auto",
            f"calibration method (given: {calibration!r}): only static int8 chooses ranges",
        ),
        "keep_float": (keep_float, f"keep_float: {layers}"),
        "float_macs": (float_macs, f"float_macs: {layers}"),
        "statistics": (statistics, "statistics: the file holds what static int8 learns"),
    }
    for option, (asked, why) in given.items():
        if asked:
            mend = f'leave {option} out, or use precision = "static"'
            raise RequestError(f"precision = {name!r} takes no {why}", mend=mend)
