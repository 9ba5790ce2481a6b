"""Providers: what is absent is refused by name of the package that has it; options reach the provider or are refused."""

from types import SimpleNamespace
from typing import Any

import onnx
import onnx.parser
import onnxruntime as ort
import pytest

from conftest import Classifier, Invoke
from foldpress import providers
from foldpress.errors import ProviderError
from foldpress.providers import CPU, check_provider
from foldpress.sessions import make_options, start_session

ABSENT = {
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu.*and TensorRT",
    "OpenVINOExecutionProvider": "onnxruntime-openvino.*onnxruntime-ep-openvino",
    "QNNExecutionProvider": "onnxruntime-qnn",
    "DmlExecutionProvider": "onnxruntime-directml",
    "CoreMLExecutionProvider": "macOS",
    "XnnpackExecutionProvider": "--use_xnnpack",
}
GRAPH = onnx.parser.parse_model(
    """<ir_version: 9, opset_import: ["" : 18]> g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"""
).SerializeToString()


@pytest.fixture
def only_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """An onnxruntime with the CPU alone, and no plugin beside it."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    monkeypatch.setattr(providers, "_PLUGINS", {})
    providers._register.cache_clear()


@pytest.mark.usefixtures("only_cpu")
@pytest.mark.parametrize(("name", "package"), ABSENT.items())
def test_an_absent_provider_is_an_error_that_names_its_package(name: str, package: str) -> None:
    """Catches a fallback to the CPU, whose figures would go by another provider's name."""
    with pytest.raises(ProviderError, match=f"(?s){name} is not in the installed onnxruntime.*{CPU}.*{package}"):
        start_session(GRAPH, make_options(), name)


@pytest.mark.usefixtures("only_cpu")
@pytest.mark.parametrize("name", list(ABSENT)[:4])
def test_four_requests_for_absent_providers_are_four_errors(name: str, classifier: Classifier, invoke: Invoke) -> None:
    """Catches a command that times on the CPU what was asked for elsewhere."""
    result = invoke("bench", classifier.net, "--provider", name, "--json")
    assert (result.exit_code, result.stdout) == (2, result.stdout)
    assert name in result.output


def test_the_cpu_takes_no_options() -> None:
    """Catches options that onnxruntime ignores, as if they had been obeyed."""
    with pytest.raises(ProviderError, match="takes no options; given: num_streams"):
        start_session(GRAPH, make_options(), CPU, {"num_streams": "2"})


def test_a_provider_that_does_not_start_is_no_cpu_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches onnxruntime's own way: print what went wrong on stdout, and go on with the CPU."""
    seen: dict[str, Any] = {}

    def refuse(*_arguments: Any, **options: Any) -> None:
        seen.update(options)
        raise RuntimeError("Invalid option: nonsense")

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["OpenVINOExecutionProvider", CPU])
    monkeypatch.setattr(ort, "InferenceSession", refuse)
    providers._register.cache_clear()
    with pytest.raises(ProviderError, match="does not start with nonsense = 1: Invalid option"):
        start_session(GRAPH, make_options(threads=3), "OpenVINOExecutionProvider", {"nonsense": "1"})
    assert seen["enable_fallback"] == 0
    assert seen["providers"] == [("OpenVINOExecutionProvider", {"nonsense": "1", "num_of_threads": "3"})]


class Plugin:
    """A plugin's package, and an onnxruntime that registers it; `devices` are what it then finds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, devices: list[str]) -> None:
        self.registered: list[tuple[str, str]] = []
        self.added: list[Any] = []
        found = [SimpleNamespace(ep_name="QNNExecutionProvider", device=SimpleNamespace(type=SimpleNamespace(name=name)))
                 for name in devices]  # fmt: skip
        module = SimpleNamespace(get_library_path=lambda: "/lib/qnn.so")
        util = SimpleNamespace(find_spec=lambda name: name == "onnxruntime_qnn" or None)
        monkeypatch.setattr(providers, "importlib", SimpleNamespace(util=util, import_module=lambda name: module))
        monkeypatch.setattr(ort, "register_execution_provider_library", lambda *a: self.registered.append(a))
        monkeypatch.setattr(ort, "get_ep_devices", lambda: found if self.registered else [])
        monkeypatch.setattr(
            ort, "get_available_providers",
            lambda: [CPU, *(["QNNExecutionProvider"] if self.registered and found else [])],
        )  # fmt: skip
        providers._register.cache_clear()

    def add_provider_for_devices(self, devices: list[Any], options: dict[str, str]) -> None:
        self.added.append(([device.device.type.name for device in devices], options))


def test_a_plugin_is_registered_once_and_told_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a plugin that is installed and told to be absent, one registered twice, and the wrong device."""
    plugin = Plugin(monkeypatch, ["CPU", "NPU"])
    for _ in range(2):
        check_provider("QNNExecutionProvider")
    options = {"device_type": "NPU", "htp_performance_mode": "burst"}
    assert providers.add_provider(plugin, "QNNExecutionProvider", options, 1) == []
    assert plugin.registered == [("QNNExecutionProvider", "/lib/qnn.so")]
    assert plugin.added == [(["NPU"], {"htp_performance_mode": "burst"})]
    with pytest.raises(ProviderError, match="no device of type GPU\navailable: CPU, NPU"):
        providers.add_provider(plugin, "QNNExecutionProvider", {"device_type": "GPU"}, 1)
    providers._register.cache_clear()


def test_a_plugin_without_a_device_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a plugin for other hardware told as one that is not installed."""
    Plugin(monkeypatch, [])
    for _ in range(2):
        with pytest.raises(ProviderError, match="installed as onnxruntime_qnn, but finds no device"):
            check_provider("QNNExecutionProvider")
    assert "finds no device here" in providers.absent_providers()["QNNExecutionProvider"]
    providers._register.cache_clear()
