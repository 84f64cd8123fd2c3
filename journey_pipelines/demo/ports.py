"""Ports on loopback: the one that was asked for, or the next free one."""

from __future__ import annotations

import socket
from collections.abc import Collection

_TRIES = 50


class PortBusyError(RuntimeError):
    """A port that was asked for by name is in use."""


def choose(what: str, option: str, asked: int | None, default: int, taken: Collection[int] = ()) -> int:
    """`asked` if it is free, else PortBusyError; where nothing was asked the first free port from `default` on, none of `taken`."""
    if asked is not None:
        if asked in taken or not _is_free(asked):
            raise PortBusyError(f"port {asked} for {what} is busy; choose another with {option}, or leave {option} out to get a free one")
        return asked
    for port in range(default, default + _TRIES):
        if port not in taken and _is_free(port):
            return port
    raise PortBusyError(f"no free port for {what} from {default} to {default + _TRIES - 1}; choose one with {option}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still in TIME_WAIT can be listened on.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        # Somebody may listen on every address, which binding to loopback with SO_REUSEADDR does not always notice.
        with socket.socket() as caller:
            caller.settimeout(0.2)
            return caller.connect_ex(("127.0.0.1", port)) != 0
