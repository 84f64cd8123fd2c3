"""`python -m journey_pipelines.demo.sandbox`: both servers in one process, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from journey_pipelines.demo.journal import Journal
from journey_pipelines.demo.sandbox import pages, providers, smtp
from journey_pipelines.demo.sandbox.faults import Faults
from journey_pipelines.demo.sandbox.mailbox import Mailbox, Message
from journey_pipelines.demo.sandbox.reactions import Reactions


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m journey_pipelines.demo.sandbox", description="The demo's channel sandbox.")
    parser.add_argument("--folder", type=Path, required=True, help="where accepted.jsonl and the inbox are kept")
    parser.add_argument("--port", type=int, default=8025, help="web inbox, POST /sms and POST /push (default 8025)")
    parser.add_argument("--smtp-port", type=int, default=2525, help="SMTP (default 2525)")
    parser.add_argument("--seed", type=int, default=7)
    parser.epilog = "SHOP_DATABASE_URL names the database that gets the reactions; without it nobody opens or clicks."
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    try:
        asyncio.run(run(options.folder, options.port, options.smtp_port, options.seed, os.environ.get("SHOP_DATABASE_URL")))
    except OSError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


async def run(folder: Path, port: int, smtp_port: int, seed: int, database_url: str | None) -> None:
    """Serve on loopback until the process is told to stop. Raises OSError when a port is busy."""
    mailbox, faults = Mailbox(folder), Faults()
    reactions = Reactions(database_url, Journal(folder / "reactions.jsonl"), seed) if database_url else None

    def accepted(message: Message) -> None:
        if reactions is not None:
            reactions.message(message)

    app = Starlette(routes=[*pages.routes(mailbox, faults, reactions, time.monotonic()), *providers.routes(mailbox, faults, accepted)])
    mail = await smtp.serve("127.0.0.1", smtp_port, mailbox, faults, accepted)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, http=providers.Protocol, lifespan="off", log_level="warning",
                            access_log=False, timeout_graceful_shutdown=1)  # fmt: skip
    config.load()
    background = asyncio.create_task(reactions.run()) if reactions is not None else None
    try:
        await uvicorn.Server(config).serve()
    except SystemExit as error:  # uvicorn's way of saying that the port is busy
        raise OSError(f"cannot listen on 127.0.0.1:{port}") from error
    finally:
        mail.close()
        if background is not None:
            background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await background
        if reactions is not None:
            await reactions.close()
        mailbox.close()


if __name__ == "__main__":
    sys.exit(main())
