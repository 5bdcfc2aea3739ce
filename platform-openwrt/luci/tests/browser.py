"""Chromium, by way of the DevTools protocol over two pipes: nothing but Python's own library is needed."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

# How long anything may take. Not a measure of speed: only what hangs gets here.
PATIENCE = 120


class Browser:
    def __init__(self):
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        if program is None:
            raise RuntimeError("there is no chromium; on Debian: apt-get install chromium")
        self.profile = tempfile.mkdtemp(prefix="wgautomesh-luci-")
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()
        # The browser reads from 3 and writes to 4. Its sandbox needs what a container or root does not have, and all that it
        # loads is ours.
        arguments = [
            program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
            "--force-color-profile=srgb", "--lang=en", f"--user-data-dir={self.profile}", "about:blank",
        ]
        # Above 4 first, so that none of the two is overwritten before it is moved.
        high = [os.dup(to_child), os.dup(from_child)]
        while min(high) < 5:
            high = [os.dup(fd) for fd in high]
        shell = f'exec "$@" 3<&{high[0]} 4>&{high[1]}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *arguments], pass_fds=high, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env={**os.environ, "LANGUAGE": "en"})
        for fd in [to_child, from_child, *high]:
            try:
                os.close(fd)
            except OSError:
                pass
        self._buffer = b""
        self._next = 1
        self.events = []

    def close(self):
        try:
            self.call("Browser.close")
        except (RuntimeError, OSError):
            pass
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, session=None, **params):
        number = self._next
        self._next += 1
        message = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") != number:
                self.events.append(answer)
                continue
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            return answer["result"]

    def _read(self):
        while b"\0" not in self._buffer:
            chunk = os.read(self._in, 1 << 20)
            if not chunk:
                raise RuntimeError("the browser is gone")
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def page(self, url, width=1280, height=900, phone=False):
        return Page(self, url, width, height, phone)


class Page:
    def __init__(self, browser, url, width, height, phone):
        self.browser = browser
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Runtime.enable")
        # A theme asks for the width of the device.
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, screenWidth=width, screenHeight=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.call("Page.navigate", url=url)

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)

    def js(self, expression):
        """The value of an expression; of what it promises, if it is a promise."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description") or details["text"])
        return result["result"].get("value")

    def wait(self, expression):
        """Waits until an expression is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            # An element has no value here, but is there.
            if self.js(f"Boolean({expression})"):
                return
            time.sleep(0.05)
        raise AssertionError(f"never true: {expression}\n{self.js('document.body.innerText')}")

    def shown(self):
        """Waits until the view is there."""
        self.wait("document.body && (document.body.dataset.shown || document.body.dataset.failed)")
        return self

    def click(self, selector):
        """Clicks as a user does: where the element is, which has to be to the fore."""
        box = self.js(
            "(() => { const node = %s; if (!node) return null; node.scrollIntoView({ block: 'center' });"
            " const r = node.getBoundingClientRect(); const x = r.x + r.width / 2, y = r.y + r.height / 2;"
            " const hit = document.elementFromPoint(x, y);"
            " return { x, y, covered: !(hit && (node.contains(hit) || hit.contains(node))) }; })()" % query(selector))
        if box is None or box["covered"]:
            raise AssertionError(f"nothing to click at {selector}: {box}")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box["x"], y=box["y"], button="left", clickCount=1)

    def type(self, selector, text):
        """Replaces the text of a field, and leaves it."""
        self.js("(() => { const node = %s; node.focus(); node.select(); })()" % query(selector))
        if text:
            self.call("Input.insertText", text=text)
        else:
            self.js("document.execCommand('delete')")
        self.js("%s.blur()" % query(selector))

    def choose(self, selector, value):
        self.js("(() => { const node = %s; node.value = %s; node.dispatchEvent(new Event('change', { bubbles: true })); })()"
                % (query(selector), json.dumps(value)))

    def screenshot(self, path):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def complaints(self):
        """What was thrown, logged as an error or shown in a dialogue of the browser since the page was opened."""
        found = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                found.append(details.get("exception", {}).get("description") or details["text"])
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] == "error":
                found.append(" ".join(str(a.get("value") or a.get("description")) for a in params["args"]))
            elif event["method"] == "Page.javascriptDialogOpening":
                found.append("dialogue: " + params["message"])
        return found


def query(selector):
    """Of a CSS selector, or of what is an expression already."""
    return selector if selector.startswith("(") else "document.querySelector(%s)" % json.dumps(selector)


def by_text(selector, text):
    """The element of a kind that has exactly this text."""
    return "([...document.querySelectorAll(%s)].find((node) => node.textContent.trim() == %s))" % (
        json.dumps(selector), json.dumps(text))
