"""The process that keeps the embedded PostgreSQL: it is the parent of `postgres`, reaps it, and lives exactly as long.

`python keeper.py '{"home": ...}'`, started by server.py in a session of its own. Standard library only: it is run as a file,
so that it needs no import path and little memory. (With pg_ctl a killed postmaster stayed a zombie, and restarts failed.)

SIGTERM or SIGINT: fast shutdown, after 30 seconds immediate shutdown. It holds `keeper.lock` for its life: whether the
server is kept is answered by that lock, never by a process id that may be another's by now.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO, Any

PATIENCE = 30.0
_BUSY = 3
# lower() and upper() as Unicode has them, order by code point, the same on every machine: no locale of the system is asked
_LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
_INITDB = ("-U", "postgres", *_LOCALE, "--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions")


class Keeper:
    """`order`: home, binaries, user (or null), socket, port, settings, while_pid (or null)."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.home = Path(order["home"])
        self.data = self.home / "data"
        self.binaries = Path(order["binaries"])
        self.order = order
        self.server: subprocess.Popen[bytes] | None = None
        self.stopping = False
        # PGDATA, PGPORT and the like of whoever starts us are not for this server
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
        self.surroundings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "cwd": self.home, "env": environment}
        if order["user"] is not None:
            self.surroundings |= {"user": order["user"], "group": pwd.getpwnam(order["user"]).pw_gid, "extra_groups": []}

    def keep(self) -> int:
        """Start the server, wait for its end; returns the exit code for this process."""
        end_orphan(self.data)
        if not (self.data / "PG_VERSION").exists() and not self._create():
            return 1
        deadline = time.monotonic() + PATIENCE
        while not self.stopping:
            where = self.log.stat().st_size if self.log.exists() else 0
            code = self._run()
            # a killed postmaster's backends hold its shared memory until they notice
            said = self.log.read_bytes()[where:]
            if code == 0 or b"shared memory block" not in said or time.monotonic() > deadline:
                return 0 if code == 0 or self.stopping else 1
            time.sleep(0.2)
        return 0

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    def stop(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGTERM and SIGINT."""
        self.stopping = True
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            emergency = threading.Timer(PATIENCE, self.server.send_signal, [signal.SIGQUIT])
            emergency.daemon = True
            emergency.start()

    def _create(self) -> bool:
        draft = self.home / "data.draft"
        shutil.rmtree(draft, ignore_errors=True)
        with self.log.open("ab") as log:
            # who does not want the disk to be asked later need not wait for it now
            hurry = ["--no-sync"] if self.order["settings"].get("fsync") == "off" else []
            made = subprocess.run([self.binaries / "initdb", "-D", draft, *_INITDB, *hurry], stdout=log, stderr=log, **self.surroundings)
        if made.returncode != 0:
            return False
        # renamed when whole: a killed initdb leaves no half cluster behind
        draft.rename(self.data)
        return True

    def _run(self) -> int:
        port = self.order["port"]
        given = {
            "unix_socket_directories": self.order["socket"],
            "unix_socket_permissions": "0700",
            "listen_addresses": "127.0.0.1" if port else "",
            "port": str(port or 5432),
            **self.order["settings"],
        }
        arguments = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            command = [str(self.binaries / "postgres"), "-D", str(self.data), *arguments]
            server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **self.surroundings)
        self.server = server
        if self.stopping:
            server.send_signal(signal.SIGINT)
        return server.wait()

    def watch(self, pid: int) -> None:
        """Stop when the process that the server is for has gone."""
        while alive(pid):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] != "Z"
    return True


def orphan(data: Path) -> int | None:
    """The id of a postmaster on `data` whose keeper was killed."""
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return None
    if not alive(pid):
        return None
    # the id may be another process's by now
    return pid if str(data) in command_of(pid) else None


def command_of(pid: int) -> str:
    """The command line of a process, empty when it has gone. Linux tells in /proc, and may have no ps; macOS the other way round."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    if Path("/proc/self").exists():
        return ""
    return subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True).stdout


def end_orphan(data: Path) -> bool:
    """Shut down a postmaster without keeper; returns whether there was one."""
    pid = orphan(data)
    if pid is None:
        return False
    for number in (signal.SIGINT, signal.SIGQUIT):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + PATIENCE
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    return True


def seize(lock: IO[str]) -> bool:
    """Take the keeper's lock, against those who look for a moment whether it is held."""
    for _ in range(100):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def main() -> int:
    keeper = Keeper(json.loads(sys.argv[1]))
    os.umask(0o077)
    # whoever starts us may ignore or block these: nohup, a shell's background job, a test runner's threads
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, keeper.stop)
    with (keeper.home / "keeper.lock").open("a") as lock:
        if not seize(lock):
            return _BUSY
        state = keeper.home / "keeper.json"
        draft = state.with_suffix(".draft")
        draft.write_text(json.dumps({"pid": os.getpid(), "port": keeper.order["port"], "socket": keeper.order["socket"]}), encoding="utf-8")
        draft.rename(state)
        if keeper.order["while_pid"] is not None:
            threading.Thread(target=keeper.watch, args=[keeper.order["while_pid"]], daemon=True).start()
        try:
            return keeper.keep()
        finally:
            state.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
