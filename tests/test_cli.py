"""The command line as a whole: its help, wrong usage, and errors as JSON."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Invoke
from contract import COMMANDS, document_of


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, invoke: Invoke) -> None:
    """Catches a command that the contract names and that is not there, or an option without which it is broken."""
    result = invoke(command, "--help")
    assert result.exit_code == 0
    for option in ("--json", "--quiet", "--verbose"):
        assert option in result.stdout


def test_the_whole_help_names_every_command(invoke: Invoke) -> None:
    """Catches a command that nobody can find."""
    result = invoke("--help")
    assert not [command for command in COMMANDS if command not in result.stdout]
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", invoke("--version").stdout)


@pytest.mark.parametrize(
    "arguments",
    [["rum"], ["run"], ["run", "a", "b"], ["gate", "x", "--max-drop", "little"], ["gate", "x", "--no-such-option"]],
)
def test_wrong_usage_exits_with_2(arguments: list[str], invoke: Invoke) -> None:
    """Catches usage errors that look like a FAIL (1) to a build pipeline."""
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_an_error_is_json_too(invoke: Invoke, tmp_path: Path) -> None:
    """Catches a program that asked for JSON and gets nothing to parse."""
    result = invoke("run", tmp_path / "absent.toml", "--json")
    document = document_of(result, code=2)
    assert document["exit_code"] == 2
    assert "absent.toml" in document["error"]
    assert "absent.toml" in result.stderr


def test_help_answers_at_once() -> None:
    """Catches a heavy import at the top of a module: --help and --version would take seconds."""
    script = (
        "import sys; from foldpress.cli import app; app(['--help'], standalone_mode=False); "
        "print({'torch', 'onnx', 'onnx_ir', 'onnxruntime', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
