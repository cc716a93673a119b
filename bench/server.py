"""The server under measurement: its database, its processes, what it logs and needs."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg2
from client import call, json_request, median

MODULES = ["bj_bench"]
# peer -> (module of ours, distributions of its addons, Python requirements of those)
OCA = {
    "fastapi": (
        "bj_bench_fastapi",
        ["odoo-addon-fastapi", "odoo-addon-endpoint_route_handler"],
        [
            *("fastapi", "python-multipart", "ujson", "a2wsgi>=1.10.6", "pydantic"),
            *("parse-accept-language", "fastapi-openapi-overrides"),
        ],
    ),
    "base_rest": (
        "bj_bench_rest",
        ["odoo-addon-rest_log", "odoo-addon-base_rest", "odoo-addon-component"],
        ["cerberus", "pyquerystring", "parse-accept-language", "apispec", "cachetools"],
    ),
    "queue_job": ("bj_bench_queue", ["odoo-addon-queue_job"], []),
}
PERFORMANCE = re.compile(
    r' werkzeug: .* "\S+ (\S+) HTTP/[\d.]+" \d+ - (\d+) [\d.]+ [\d.]+'
)


class Settings:
    """What ./dev hands over in the environment."""

    def __init__(self):
        environment = os.environ
        self.series = environment["BJ_BENCH_SERIES"]
        self.odoo = json.loads(environment["BJ_BENCH_ODOO"])
        self.addons_path = environment["BJ_BENCH_ADDONS_PATH"]
        self.template = environment["BJ_BENCH_TEMPLATE"]  # the addon is installed in it
        self.prefix = environment["BJ_BENCH_PREFIX"]  # of the names of our databases
        self.data = Path(environment["BJ_BENCH_DATA"])  # Odoo's data directory
        self.cache = Path(environment["BJ_BENCH_CACHE"])
        self.logs = Path(environment["BJ_BENCH_LOGS"])
        self.addons = Path(__file__).parent / "addons"


def install_oca(settings, names):
    """Put OCA addons below the cache, once; return ``{name: folder}`` of those had.

    Outside of the virtual environment, so that development goes on without them.
    """
    if names and settings.series != "18.0":
        print("Without the addons of OCA: those to compare with are of Odoo 18.0.")
        return {}
    root = settings.cache / "bench-oca-18.0"
    root.mkdir(parents=True, exist_ok=True)
    folders = {}
    for name, (_module, addons, requirements) in OCA.items():
        if name not in names:
            continue
        folder = root / name
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                download(settings, folder, addons, requirements)
            except subprocess.CalledProcessError as error:
                reason = error.stdout.strip()
                print(f"Without OCA {name}, pip cannot get it: {reason[-200:]}")
                continue
            (folder / "complete").touch()
        folders[name] = folder
    return folders


def download(settings, folder, addons, requirements):
    pip = [settings.odoo[0], "-m", "pip", "--disable-pip-version-check"]
    install = [*pip, "install", "-q", "--target"]
    wheels = [f"{addon}==18.*" for addon in addons]
    run([*install, folder / "addons", "--no-deps", *wheels])
    if requirements:
        # What Odoo has as well stays at Odoo's versions.
        constraints = folder / "constraints.txt"
        constraints.write_text(run([*pip, "freeze"]))
        run([*install, folder / "python", "-c", constraints, *requirements])


def run(command):
    return subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


def sql(database, *statements):
    """Run statements, each in its own transaction; return the rows of the last one."""
    with closing(psycopg2.connect(dbname=database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def durable_commits():
    """Let PostgreSQL write each commit to the disk meanwhile, as it does in production.

    The server that ./dev brings does not, for the speed of tests. Here that would make
    the writes of the bare controller too cheap, and with it every ratio too high.
    """
    [(fsync, superuser)] = sql(
        "postgres",
        "SELECT current_setting('fsync'), current_setting('is_superuser')",
    )
    if fsync == "on" or superuser != "on":
        yield
        return
    _set_durable("on")
    try:
        yield
    finally:
        _set_durable("off")


def _set_durable(value):
    names = ("fsync", "full_page_writes")
    changes = [f"ALTER SYSTEM SET {name} = {value}" for name in names]
    sql("postgres", *changes, "SELECT pg_reload_conf()")


class Database:
    """A copy of a prepared database, gone when the block ends."""

    def __init__(self, settings, oca, keep=False):
        self.settings = settings
        self.oca = oca
        self.name = f"{settings.prefix}_{os.getpid()}"
        self.keep = keep

    def __enter__(self):
        prepared = self._prepare()
        self._copy(prepared, self.name)
        sql(self.name, "VACUUM ANALYZE")
        return self

    def __exit__(self, *exc_info):
        if not self.keep:
            self._drop(self.name)

    def odoo(self, *options):
        """Return ``(command, environment)`` of Odoo with the addons to compare with."""
        paths = [self.settings.addons_path, self.settings.addons]
        paths += [folder / "addons/odoo/addons" for folder in self.oca.values()]
        python = [folder / "python" for folder in self.oca.values()]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, python))}
        command = [
            *self.settings.odoo,
            f"--addons-path={','.join(map(str, paths))}",
            *options,
        ]
        return [str(part) for part in command], environment

    def profile(self, operations, with_profile):
        """Run `profiled.py` in Odoo's shell; return its exit code."""
        options = ["-d", self.name, "--no-http", "--log-level=warn"]
        command, environment = self.odoo(*options)
        command.insert(2, "shell")
        environment["BJ_BENCH_CPU"] = ",".join(operations)
        environment["BJ_BENCH_PROFILE"] = "1" if with_profile else ""
        with Path(__file__).with_name("profiled.py").open() as script:
            return subprocess.run(command, env=environment, stdin=script).returncode

    def _prepare(self):
        """Return the database with the modules and 10,000 contacts, made when needed."""
        name = f"{self.settings.prefix}_template"
        wanted = self._identity()
        comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
        found = sql("postgres", f"{comment} WHERE datname = '{name}'")
        if found == [(wanted,)]:
            return name
        print("Preparing 10,000 contacts and what is compared, about a minute ...")
        self._copy(self.settings.template, name)
        modules = [*MODULES, *(OCA[peer][0] for peer in self.oca)]
        options = [
            "-d",
            name,
            "-i",
            ",".join(modules),
            "--stop-after-init",
            "--no-http",
        ]
        command, environment = self.odoo(*options, "--max-cron-threads=0")
        log = self.settings.logs / "bench-install.log"
        with log.open("w") as output:
            code = subprocess.run(
                command, env=environment, stdout=output, stderr=output
            ).returncode
        text = log.read_text(errors="replace")
        if code or " ERROR " in text.replace("odoo.sql_db", ""):
            raise SystemExit(f"The benchmark's modules do not install, see {log}")
        sql("postgres", f"COMMENT ON DATABASE \"{name}\" IS '{wanted}'")
        return name

    def _identity(self):
        rows = sql(
            "postgres",
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
            f" WHERE datname = '{self.settings.template}'",
        )
        files = sorted(self.settings.addons.rglob("*.py"))
        newest = max(path.stat().st_mtime_ns for path in files)
        return f"{rows[0][0] if rows else ''} {newest} {','.join(self.oca)}"

    def _copy(self, source, name):
        self._drop(name)
        sql("postgres", f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        filestore = self.settings.data / "filestore"
        if (filestore / source).exists():
            # Odoo never changes a stored file, it only adds and removes them.
            shutil.copytree(filestore / source, filestore / name, copy_function=os.link)

    def _drop(self, name):
        sql("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        shutil.rmtree(self.settings.data / "filestore" / name, ignore_errors=True)


class Server:
    """Odoo with processes as workers, measured from outside."""

    def __init__(self, database, port, *options, workers=2, env=None):
        self.database = database
        self.port = port
        self.log = database.settings.logs / f"bench-{port}.log"
        command, environment = database.odoo(
            *("-d", database.name, f"--workers={workers}", f"--http-port={port}"),
            *(f"--gevent-port={port + 1}", "--http-interface=127.0.0.1"),
            *("--limit-time-cpu=600", "--limit-time-real=1200", *options),
        )
        environment.update(env or {})
        self.output = self.log.open("w")
        self.watched = []  # processes
        self.process = subprocess.Popen(
            command, env=environment, stdout=self.output, stderr=subprocess.STDOUT
        )

    def __enter__(self):
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError, ValueError):
                if self.workers() and call(
                    self.port, json_request("GET", "/web/health")
                ):
                    return self
            time.sleep(0.1)
        self.__exit__()
        raise SystemExit(f"Odoo does not start, see {self.log}")

    def __exit__(self, *exc_info):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()

    def workers(self):
        """Return the ids of the processes that answer HTTP requests."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                command = stat.with_name("cmdline").read_bytes()
                if parent == self.process.pid and b"gevent\0" not in command:
                    found.append(int(stat.parent.name))
        return found

    @contextmanager
    def watch(self):
        """Yield a dict that has ``counts``, ``queries``, ``mib`` and ``cpu`` afterwards.

        Queries are what Odoo counts for its log, of every cursor of the request's thread
        (OCA fastapi works in another one): ``counts`` of each request and their median.
        MiB is the peak of the larger worker, CPU the seconds of all workers.
        """
        seen = {}
        start = self.log.stat().st_size
        self.watched = self.workers()
        for pid in self.watched:
            with suppress(OSError):  # starts the peak anew
                Path(f"/proc/{pid}/clear_refs").write_text("5")
        cpu = self.cpu_seconds()
        yield seen
        seen["cpu"] = self.cpu_seconds() - cpu
        peaks = []
        for pid in self.watched:
            with suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                peaks.append(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024)
        time.sleep(0.02)  # a request is logged after it has been answered
        with self.log.open("rb") as file:
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()
        seen["counts"] = [
            int(match[2]) for line in lines if (match := PERFORMANCE.search(line))
        ]
        seen["queries"] = median(seen["counts"])
        seen["mib"] = max(peaks, default=None)

    def cpu_seconds(self):
        """Return the CPU seconds that the watched workers have taken, to the nanosecond."""
        nanoseconds = 0
        for pid in self.watched:
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError):
                    nanoseconds += int(task.read_text().split()[0])
        return nanoseconds / 1e9
