"""A dispatcher in a process of its own, to be killed: DATABASE_URL, the channels and the failpoints come from the environment."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ledger_rows import CONSENT

from journey_pipelines.delivery.channels.configure import channels_from_settings
from journey_pipelines.delivery.dispatch import dispatch
from journey_pipelines.settings import settings
from journey_pipelines.store.connect import make_engine


def main(now: str) -> None:
    engine = make_engine()
    channels = channels_from_settings(settings())
    dispatch(engine, channels, consent=CONSENT, linger=0, budget=30, batch_size=20, now=datetime.fromisoformat(now))
    for channel in channels.values():
        channel.close()


if __name__ == "__main__":
    main(sys.argv[1])
