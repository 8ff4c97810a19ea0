"""A headless Chromium that shows pages, driven through the pipe it offers: one page at a time, as wide as asked."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ("--headless=new", "--disable-gpu", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars")
FLAGS += ("--no-first-run", "--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe")


def find_browser():
    """The path of a Chromium on this machine, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser(profile: Path):
    """A :class:`Browser` with a profile in an empty folder; it ends with the block."""
    (to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()

    def as_three_and_four():
        a, b = os.dup(to_read), os.dup(from_write)  # neither is 3 or 4 by now
        os.dup2(a, 3)
        os.dup2(b, 4)

    command = [find_browser(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        command, close_fds=False, preexec_fn=as_three_and_four, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(to_read)
    os.close(from_write)
    try:
        yield Browser(to_write, from_read)
    finally:
        process.kill()
        process.wait()
        os.close(to_write)
        os.close(from_read)


class Browser:
    """Speaks the DevTools protocol; ``complaints`` are errors and warnings of the page that is shown."""

    def __init__(self, writing: int, reading: int) -> None:
        self.writing, self.reading, self.rest, self.number = writing, reading, b"", 0
        self.session, self.complaints, self.loaded = None, [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def show(self, page: Path, width: int, dark: bool = False, scripts: bool = True) -> None:
        """Load a file as it is on a screen of this width; ``complaints`` begin anew."""
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        phone = width < 600
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.complaints, self.loaded = [], False
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not self.loaded:
            self._receive()

    def ask(self, expression: str):
        """What a JavaScript expression says in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, height: int | None = None) -> bytes:
        """The whole page as PNG, or its upper part of this height."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], height or 20_000), "scale": 1}
        answer = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def call(self, method: str, **parameters):
        """The answer to a command."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.number:
                assert "result" in answer, answer
                return answer["result"]

    def _receive(self, limit: float = 120.0):
        """The next message; what a page complains of is noted."""
        end = time.monotonic() + limit
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.reading], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self.reading, 1 << 20)
            assert part, "the browser has ended"
            self.rest += part
        text, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(text)
        name, told = message.get("method"), message.get("params", {})
        if name == "Page.loadEventFired":
            self.loaded = True
        elif name == "Runtime.exceptionThrown":
            self.complaints.append(told["exceptionDetails"].get("text", "an exception"))
        elif name == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(told["args"]))
        elif name == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        return message
