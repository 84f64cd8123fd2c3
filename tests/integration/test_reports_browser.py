"""The page in a real browser: on a phone and on a desk, light and dark, with figures and without."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa
from playwright.sync_api import sync_playwright
from report_rows import Rows

from reports.build import build_reports

DAY = date(2026, 5, 12)
NOON = datetime(2026, 5, 12, 12, tzinfo=UTC)
NOW = datetime(2026, 5, 13, 4, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCREENS: tuple[tuple[int, Literal["light", "dark"]], ...] = ((320, "light"), (390, "dark"), (1280, "light"))
# nothing in a name stops it from being one long word
LONG = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft"


def fill(db: sa.Engine) -> None:
    with db.begin() as conn:
        rows = Rows(conn)
        rows.workflow(
            "cart",
            ["remind", "settle", LONG.lower()[:60]],
            name=LONG,
            description="https://example.org/" + LONG * 3,
            goal={"event": "purchase"},
        )
        for n in range(60):
            at = NOON - n * 11 * HOUR
            end = (2 * HOUR, ["completed", "goal", "exit_rule"][n % 3]) if n > 5 else None
            rows.journey("cart", at, [(0 * HOUR, "remind"), (HOUR, "settle")], end, trigger=f"{LONG.lower()[:50]}{n % 2}")
            rows.message("cart", at, ["email", "sms", "push"][n % 3], "failed", f"{LONG.lower()}_{n % 4}")


@pytest.mark.browser
@pytest.mark.parametrize("filled", [True, False])
def test_the_page_fits_every_screen_and_asks_for_nothing(db: sa.Engine, tmp_path: Path, filled: bool) -> None:
    if filled:
        fill(db)
    page_file = build_reports(db, DAY, now=NOW, folder=tmp_path).page
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"), args=["--no-sandbox"]
        )
        for width, scheme in SCREENS:
            page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
            page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
            page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(page_file.as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("h1").inner_text() == "Tuesday, 12 May 2026"
            assert page.locator("ol.steps > li").count() >= (3 if filled else 0)
            page.close()
        browser.close()
    assert wrong == []
