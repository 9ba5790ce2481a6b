"""A page in headless Chromium, over its DevTools pipe: messages are JSON documents that end with a zero byte.

Protocol: https://chromedevtools.github.io/devtools-protocol/. A pipe needs no port, no package and no network. Chromium is
taken from the variable CHROMIUM or from PATH.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SECONDS = 60  # for one answer: a busy machine draws slowly
_FLAGS = ("--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run",
          "--disable-background-networking", "--disable-dev-shm-usage", "about:blank")  # fmt: skip


def find_chromium() -> str | None:
    """The browser's path, or None. What CHROMIUM names must be there."""
    if asked := os.environ.get("CHROMIUM"):
        assert shutil.which(asked), f"CHROMIUM = {asked!r} is no program"
        return shutil.which(asked)
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One open tab, and every event that it has told of."""

    def __init__(self, writer: int, reader: int) -> None:
        self._writer, self._reader = writer, reader
        self._rest, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its answer."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        request |= {"sessionId": self._session} if self._session else {}
        os.write(self._writer, json.dumps(request).encode() + b"\0")
        while (message := self._next()).get("id") != self._number:
            self.events.append(message)
        assert "error" not in message, f"{method}: {message['error']}"
        return dict(message["result"])

    def show(self, page: Path, *, width: int, dark: bool = False, media: str = "screen") -> None:
        """Open a file in a window of that width, as someone who prefers dark or light would see it."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])
        seen = len(self.events)
        self.ask("Page.navigate", url=page.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events[seen:]):
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def complaints(self) -> list[str]:
        """What the console and the page's own errors said."""
        told = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in told]

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [str(one["request"]["url"]) for one in sent]

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reader], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._reader, 1 << 16) if ready else b""
            assert chunk, "Chromium ended, or did not answer in time"
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def open_browser(chromium: str) -> Iterator[Browser]:
    """Start Chromium with a profile of its own, and end it."""
    # Chromium reads from 3 and writes to 4; our ends are moved out of the way of these numbers.
    (theirs_in, ours_out), (ours_in, theirs_out) = (tuple(map(_high, os.pipe())) for _ in range(2))
    actions = [(os.POSIX_SPAWN_DUP2, theirs_in, 3), (os.POSIX_SPAWN_DUP2, theirs_out, 4)]
    with tempfile.TemporaryDirectory(prefix="foldpress.", ignore_cleanup_errors=True) as profile:
        quiet = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        arguments = [chromium, f"--user-data-dir={profile}", *_FLAGS]
        child = os.posix_spawn(chromium, arguments, os.environ, file_actions=[*actions, quiet], setpgroup=0)
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(ours_out, ours_in)
        finally:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(ours_out)
            os.close(ours_in)


def _high(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
