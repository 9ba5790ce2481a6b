import json
from pathlib import Path

import pytest

from foldpress.benchmark.plan import LatencyPlan
from foldpress.latency_cache import LatencyCache, cache_folder


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    """Catches: entries that overwrite each other, or are lost when the program ends."""
    LatencyCache(LatencyPlan(), tmp_path).keep({"a": {"16": 1.5, "8": 1.0}})
    LatencyCache(LatencyPlan(), tmp_path).keep({"b": {"4": 2.0}})
    cache = LatencyCache(LatencyPlan(processes=1, seconds=1.0, seed=3), tmp_path)
    assert cache.read("a") == {"16": 1.5, "8": 1.0}
    assert cache.read("b") == {"4": 2.0}
    assert cache.read("c") == {}


@pytest.mark.parametrize("plan", [LatencyPlan(batch=8), LatencyPlan(threads=2), LatencyPlan("CUDAExecutionProvider")])
def test_another_way_to_run_has_times_of_its_own(plan: LatencyPlan, tmp_path: Path) -> None:
    """Catches: times at batch 1 taken for those at batch 8."""
    LatencyCache(LatencyPlan(), tmp_path).keep({"a": {"16": 1.5}})
    assert LatencyCache(plan, tmp_path).read("a") == {}


def test_another_onnxruntime_has_times_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: times of kernels that are no longer there."""
    LatencyCache(LatencyPlan(), tmp_path).keep({"a": {"16": 1.5}})
    monkeypatch.setattr("foldpress.latency_cache.version", lambda _: "99.0")
    assert LatencyCache(LatencyPlan(), tmp_path).read("a") == {}


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "null", '{"entries": []}', '{"entries": {"a": 3}}', '{"entries": {"a": {"16": "fast"}}}',
     '{"entries": {"a": {"16": -1}}}', '{"entries": {"a": {"16": NaN}}}', "\ufeff\x00"],
)  # fmt: skip
def test_a_damaged_file_is_as_good_as_none(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Catches: a run that a file in a cache can break, or a time of nan that decides widths."""
    cache = LatencyCache(LatencyPlan(), tmp_path)
    cache.keep({"a": {"16": 1.5}})
    cache.path.write_text(damage, encoding="utf-8")
    assert cache.read("a") == {}
    assert "damaged" in caplog.text
    cache.keep({"a": {"16": 2.5}})
    assert cache.read("a") == {"16": 2.5}
    assert json.loads(cache.path.read_text())["machine"]["batch"] == 1


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Catches: a run that ends because of its cache."""
    (tmp_path / "latency").write_text("a file where the folder should be")
    cache = LatencyCache(LatencyPlan(), tmp_path)
    cache.keep({"a": {"16": 1.5}})
    assert cache.read("a") == {}
    assert "not kept" in caplog.text


def test_the_folder_follows_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches: files in a place where the system keeps none."""
    for name in ("FOLDPRESS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == Path.home() / ".cache/foldpress"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/x")
    assert cache_folder() == Path("/var/tmp/x/foldpress")
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == Path.home() / "Library/Caches/foldpress"
    monkeypatch.setenv("FOLDPRESS_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere")
