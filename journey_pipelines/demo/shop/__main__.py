"""`python -m journey_pipelines.demo.shop`: the shop, open until SIGINT or SIGTERM. SHOP_DATABASE_URL says where, as role `shop`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import httpx
import psycopg

from journey_pipelines.demo.shop.ledger import Ledger
from journey_pipelines.demo.shop.life import Life

log = logging.getLogger("shop")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m journey_pipelines.demo.shop", description="The demo's shop.")
    parser.add_argument("--folder", type=Path, required=True, help="where events.jsonl and profiles.jsonl are kept")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--pace", type=float, default=12.0, help="events a second that the shop itself means to write (default 12)")
    parser.add_argument("--sandbox", help="the channel sandbox, for reactions to messages, such as http://127.0.0.1:8025")
    parser.add_argument("--prepare", action="store_true", help="make the shop's tables and end")
    parser.add_argument("--reader", help="with --prepare: the role that may read shop.orders")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    url = os.environ.get("SHOP_DATABASE_URL")
    if not url:
        sys.stderr.write("shop: SHOP_DATABASE_URL is not set; it names the database and the role, as postgresql://shop:...@host/database\n")
        return 2
    ledger = Ledger(url, options.folder)
    try:
        if options.prepare:
            ledger.prepare(options.reader)
        else:
            _open(ledger, options.seed, options.pace, options.sandbox)
    except psycopg.Error as error:
        sys.stderr.write(f"shop: {' '.join(str(error).split())}\n")
        return 1
    finally:
        ledger.close()
    return 0


def _open(ledger: Ledger, seed: int, pace: float, sandbox: str | None) -> None:
    closing = False

    def close(number: int, frame: FrameType | None) -> None:
        nonlocal closing
        closing = True

    signal.signal(signal.SIGTERM, close)
    signal.signal(signal.SIGINT, close)
    run, known = ledger.begin(seed)
    life = Life(ledger, seed=seed, run=run, known=known, pace=pace)
    log.info("open: run %s, %s customers known", run, len(known))
    post = _Post(sandbox) if sandbox else None
    opened = last_word = time.monotonic()
    while not closing:
        now = time.monotonic() - opened
        if post is not None:
            for address, channel, subject in post.new(now):
                life.receives(now, address, channel, subject)
        following = life.until(now, limit=100)
        if time.monotonic() - last_word >= 10:
            last_word = time.monotonic()
            log.info("%s events written, %.1f a second", ledger.written, ledger.written / (last_word - opened))
        # Short naps: a signal must be heard, and a busy shop must not sleep at all.
        time.sleep(min(0.05, max(0.0, following - (time.monotonic() - opened))))
    log.info("closed: %s events written", ledger.written)


class _Post:
    """Looks once a second what the sandbox has for the customers; what came before the shop opened is old news."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=2.0)
        self._seen: int | None = None
        self._next = 0.0

    def new(self, now: float) -> list[tuple[str, str, str]]:
        if now < self._next:
            return []
        self._next = now + 1.0
        try:
            if self._seen is None:
                self._seen = int(self._client.get("/api/status").raise_for_status().json()["last"])
                return []
            answer = self._client.get("/api/messages", params={"after": self._seen, "order": "oldest", "limit": 500}).raise_for_status()
        except httpx.HTTPError as error:
            log.warning("the sandbox does not answer: %s", error)
            return []
        messages = answer.json()["messages"]
        self._seen = messages[-1]["number"] if messages else self._seen
        return [(m["recipient"], m["channel"], m["subject"]) for m in messages]


if __name__ == "__main__":
    sys.exit(main())
