"""What the tests of the views share: one browser, and a router for each test."""
import atexit
import os
import pathlib
import re
import unittest

from browser import Browser
from router import Router

PHONE = {"width": 360, "height": 740, "phone": True}

_browser = None


def browser():
    global _browser
    if _browser is None:
        _browser = Browser()
        atexit.register(_browser.close)
    return _browser


class ViewTest(unittest.TestCase):
    entry = None
    # Asked for by a test that provokes them.
    complaints_expected = False

    def setUp(self):
        self.router = Router()
        self.addCleanup(self.router.close)
        self.pages = []

    def tearDown(self):
        for page in self.pages:
            complaints = page.complaints()
            failed = page.js("document.body.dataset.failed || null")
            page.close()
            self.assertIsNone(failed)
            if not self.complaints_expected:
                self.assertEqual(complaints, [])

    def open(self, **size):
        page = browser().page(self.router.url(self.entry), **size)
        self.pages.append(page)
        return page.shown()

    def keep(self, page, name):
        """A picture for people, where they are wanted."""
        folder = os.environ.get("WGAUTOMESH_SCREENSHOTS")
        if folder:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(os.path.join(folder, name + ".png"))

    def assert_fits(self, page):
        """Nothing makes the page wider than the screen."""
        wide = page.js("""(() => {
            const width = document.documentElement.clientWidth;
            return [...document.body.querySelectorAll('*')].filter((node) => {
                const box = node.getBoundingClientRect();
                return box.width && (box.right > width + 1 || box.left < -1);
            }).map((node) => node.outerHTML.substring(0, 200));
        })()""")
        self.assertEqual(wide, [])
        self.assertLessEqual(page.js("document.documentElement.scrollWidth"), page.js("document.documentElement.clientWidth"))

    def assert_harmless(self, page):
        """Nothing of what came from elsewhere has become an element, or has run."""
        self.assertIsNone(page.js("window.pwned ?? null"))
        foreign = page.js("[...document.querySelectorAll('img, script:not([src]), iframe, object, form, [onerror], [onload], [onclick]')]"
                          ".map((node) => node.outerHTML).filter((html) => !/STUB_ENV/.test(html))")
        self.assertEqual(foreign, [])


# What an attacker would like to be called.
HOSTILE = [
    '<img src=x onerror="window.pwned=1">',
    "&lt;img src=x onerror=window.pwned=2&gt;",
    "</style><script>window.pwned=3</script>",
    "\"'><svg onload=window.pwned=4>",
    "%s%d%h {{7*7}} ${window.pwned=5}",
    "javascript:window.pwned=6",
]
BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
