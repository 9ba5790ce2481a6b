from typing import Any

import pytest

from foldpress.errors import RequestError
from foldpress.precision import Precision, choose_precision
from foldpress.tables.quantize import QuantizeTable


def test_names_and_bits_are_taken_over() -> None:
    """Catches an option that is read and dropped."""
    assert choose_precision("weights", 3) == Precision("weights", 3)
    assert choose_precision("static", calibration="mse") == Precision("static")
    assert [choose_precision(name).learns for name in ("static", "float16", "dynamic", "weight-int4")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("name", "bits", "calibration", "told"),
    [
        ("int3", None, "auto", "available: auto, static, dynamic, weight-int8"),
        ("weights", None, "auto", "bits goes with precision = 'weights', and must be given"),
        ("dynamic", 4, "auto", "'dynamic' with bits = 4"),
        ("weights", 9, "auto", "available: 1 to 8"),
        ("float16", None, "entropy", "only static int8 chooses ranges"),
    ],
)
def test_what_does_not_go_together_is_refused(name: str, bits: int | None, calibration: str, told: str) -> None:
    """Catches an option that is silently without effect, on the command line and in a recipe."""
    with pytest.raises(RequestError, match=told):
        choose_precision(name, bits, calibration)
    with pytest.raises(ValueError, match="precision|bits"):
        QuantizeTable.model_validate({"precision": name, "bits": bits, "calibration": calibration})


@pytest.mark.parametrize("option", [{"keep_float": ["Conv"]}, {"float_macs": 0.1}])
def test_only_static_int8_leaves_single_layers_float(option: dict[str, Any]) -> None:
    """Catches: layers that were to stay float, and are integer all the same."""
    with pytest.raises(RequestError, match="only static int8 leaves single layers float"):
        choose_precision("dynamic", **option)
    with pytest.raises(ValueError, match="single layers"):
        QuantizeTable.model_validate({"precision": "dynamic", **option})
    assert choose_precision("auto", **option).name == "auto"
