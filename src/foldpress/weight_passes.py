"""The passes over weights that `[quantize] weight_passes` and `foldpress quantize --weight-passes` can be asked for."""

import difflib
from collections.abc import Sequence
from typing import Literal, get_args

from foldpress.errors import RequestError

WeightPass = Literal["equalization", "smooth", "gptq", "bias-correction"]
# What "auto" runs, by docs/measurements.md: around depthwise convolutions all three together halve the error, elsewhere
# bias correction does most of what they do, at a tenth of the time.
AUTO: tuple[WeightPass, ...] = ("bias-correction",)
AUTO_DEPTHWISE: tuple[WeightPass, ...] = ("equalization", "gptq", "bias-correction")
# Those that leave weights where they share values.
KEEP_VALUES: tuple[WeightPass, ...] = ("bias-correction",)


def choose_weights(asked: str | Sequence[str], precision: str = "static") -> tuple[WeightPass, ...] | None:
    """The passes of these names; None for "auto" alone, which the network decides; "none" or nothing for none.

    Raises:
        RequestError: there is no such pass, or it does not go with the precision.
    """
    names = (asked,) if isinstance(asked, str) else tuple(asked)
    if names == ("auto",):
        return None
    if names in (("none",), ()):
        return ()
    known = get_args(WeightPass)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            mend = f"did you mean {near[0]}?" if near else '"auto" and "none" stand alone'
            raise RequestError(f"there is no pass over weights {name!r}", available=", ".join(known), mend=mend)
    if precision not in ("auto", "static"):
        raise RequestError(
            f"{', '.join(names)}: passes over weights prepare static int8, not precision {precision!r}",
            mend='leave weight_passes out, or set precision = "static"',
        )
    return tuple(name for name in known if name in names)
