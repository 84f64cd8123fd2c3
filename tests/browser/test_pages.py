"""The pages a person looks at, in a real browser, at the width of a phone and of a desk: the Dagster UI and the sandbox's inbox.

Screenshots go to the folder SCREENSHOTS names, else to a temporary one. A page fails on an error in its console, on horizontal scroll, and
on any request that leaves this machine. The demo runs for it under a data folder of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from journey_pipelines.store import server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PHONE, DESK = (390, 844), (1280, 800)
LOCAL = {"127.0.0.1", "localhost", ""}


@dataclass(frozen=True)
class Demo:
    dagster: str
    inbox: str
    reports: Path


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    data = Path(tempfile.mkdtemp(prefix="journeys-browser-"))
    data.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "DURATION")} | {
        "JOURNEYS_DATA": str(data)
    }
    process = subprocess.Popen([sys.executable, "-m", "journey_pipelines.demo", "--pace", "30"], cwd=ROOT, env=environment)
    try:
        running = data / "demo" / "running.json"
        _until(running.exists, 240, "the demo did not start", process)
        ports = json.loads(running.read_text())["ports"]
        inbox = f"http://127.0.0.1:{ports['inbox']}"
        _until(lambda: httpx.get(f"{inbox}/api/status").json()["accepted"]["sms"] > 3, 240, "no messages came", process)
        yield Demo(f"http://127.0.0.1:{ports['dagster']}", inbox, data / "reports")
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(120)
        server.wipe(data)
        shutil.rmtree(data, ignore_errors=True)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def screenshots() -> Path:
    folder = Path(os.environ.get("SCREENSHOTS") or tempfile.mkdtemp(prefix="journeys-screenshots-"))
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"screenshots: {folder}\n")
    return folder


class Watched:
    """A page at a size, with everything it complained about or asked for outside."""

    def __init__(self, page: Page, folder: Path, name: str) -> None:
        self.page, self.folder, self.name = page, folder, name
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(f"console: {message.text}") if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        if (urlsplit(url).hostname or "") not in LOCAL:
            self.complaints.append(f"outside: {url}")

    def look(self, what: str) -> None:
        """Keep a picture, and refuse horizontal scroll and complaints."""
        self.page.screenshot(path=self.folder / f"{what}-{self.name}.png")
        wide, window = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= window, f"{what} scrolls sideways on a {self.name}: {wide} > {window}"
        assert self.complaints == [], f"{what} on a {self.name}"


@pytest.fixture(params=[("phone", PHONE), ("desk", DESK)], ids=["phone", "desk"])
def watched(request: pytest.FixtureRequest, browser: Browser, screenshots: Path) -> Iterator[Watched]:
    name, (width, height) = request.param
    page = browser.new_page(viewport={"width": width, "height": height})
    yield Watched(page, screenshots, name)
    page.close()


def test_the_inbox(demo: Demo, watched: Watched) -> None:
    page = watched.page
    page.goto(demo.inbox)
    page.wait_for_selector("#list li")
    page.wait_for_timeout(2500)
    watched.look("inbox")
    page.click("details.faults summary")
    watched.look("inbox-faults")


def test_the_inbox_follows_without_moving_what_one_reads(demo: Demo, watched: Watched) -> None:
    page = watched.page
    page.goto(demo.inbox)
    first = page.locator("#list li").first
    newest = int(first.get_attribute("data-number") or 0)
    page.evaluate("window.marked = document.querySelector('#list li')")
    # the page's own policy refuses the evaluated text that wait_for_function needs
    for _ in range(120):
        page.wait_for_timeout(500)
        if int(page.locator("#list li").first.get_attribute("data-number") or 0) > newest:
            break
    else:
        pytest.fail("no new message came into the list")
    assert page.evaluate("window.marked.isConnected"), "the list was drawn anew instead of added to"
    assert watched.complaints == []


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_message(demo: Demo, watched: Watched, channel: str) -> None:
    page = watched.page
    page.goto(f"{demo.inbox}/?channel={channel}")
    page.click("#list li a")
    page.wait_for_selector("iframe" if channel == "email" else ".bubble")
    page.wait_for_timeout(500)
    if channel == "email":
        mail = page.frame_locator("iframe").locator("body")
        assert (mail.text_content() or "").strip()
        inside = page.evaluate(
            "[document.querySelector('iframe').contentDocument.documentElement.scrollWidth, document.querySelector('iframe').clientWidth]"
        )
        assert inside[0] <= inside[1], f"the mail scrolls sideways on a {watched.name}: {inside}"
    watched.look(f"message-{channel}")


def test_searching(demo: Demo, watched: Watched) -> None:
    page = watched.page
    page.goto(demo.inbox)
    recipient = page.locator("#list .who").first.text_content() or ""
    page.fill("input[type=search]", recipient.upper())
    page.click("button.main")
    assert {text.strip() for text in page.locator("#list .who").all_text_contents()} == {recipient}
    page.fill("input[type=search]", "nobody at all")
    page.click("button.main")
    assert page.locator("#empty").is_visible()
    watched.look("inbox-nothing-found")


@pytest.mark.parametrize(
    ("what", "path", "shows"),
    [
        ("dagster-overview", "/overview/activity/timeline", "drain_journeys"),
        ("dagster-assets", "/asset-groups", "Lineage"),
        ("dagster-runs", "/runs", "drain_journeys"),
        ("dagster-jobs", "/locations/journeys/jobs", "dispatch_messages"),
    ],
)
def test_the_dagster_ui(demo: Demo, watched: Watched, what: str, path: str, shows: str) -> None:
    page = watched.page
    page.goto(f"{demo.dagster}{path}")
    page.get_by_text(shows).first.wait_for(state="attached", timeout=60_000)
    page.wait_for_timeout(2500)
    watched.look(what)


def test_a_report(demo: Demo, watched: Watched) -> None:
    _until(lambda: any(demo.reports.glob("*/report.html")), 240, "no report was made", None)
    page = watched.page
    page.goto(sorted(demo.reports.glob("*/report.html"))[-1].as_uri())
    watched.look("report")


def _until(there: object, seconds: float, complaint: str, process: subprocess.Popen[bytes] | None) -> None:
    assert callable(there)
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.TransportError):
            if there():
                return
        assert process is None or process.poll() is None, f"{complaint}: the demo ended with {process.returncode if process else ''}"
        assert time.monotonic() < deadline, complaint
        time.sleep(0.5)
