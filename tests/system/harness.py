"""Real Odoo servers for the system tests, which `./dev test` starts.

    with Server(workers=2) as server:
        token = server.token("bj_api_sync.config_partner_in_demo")
        server.http("GET", "/bj_api_sync/v1/partners", token=token).status
        server.rpc("res.partner", "search_count", [])
        server.query("SELECT count(*) FROM bj_api_log")

Each server has a fresh copy of the prepared database (the addon with its demo data),
unless it is given the database of another one, and a process group of its own.
"""

import itertools
import os
import signal
import sys
import time
from contextlib import closing, suppress
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import psutil
import psycopg2

ROOT = Path(__file__).resolve().parents[2]


def _load_dev():
    """Import ./dev, whose name has no extension, so that nothing is written twice."""
    loader = SourceFileLoader("dev", str(ROOT / "dev"))
    module = sys.modules["dev"] = module_from_spec(spec_from_loader("dev", loader))
    loader.exec_module(module)
    return module


dev = _load_dev()
receiver = dev.load_module("receiver", ROOT / "tests" / "receiver.py")
Receiver = receiver.Receiver

SETUP = dev.Setup(Path(os.environ["ODOO_SRC"]), Path(sys.prefix))
TEMPLATE = os.environ["BJ_TEST_TEMPLATE"]
PREFIX = os.environ["BJ_TEST_PREFIX"]  # of the databases to be made
LOGS = "system-" + PREFIX.rpartition("_")[2]  # and of the logs
_numbers = itertools.count(1)


def wait_until(condition, timeout=90.0, interval=0.05):
    """Return the first true value of ``condition()``; raise AssertionError after that.

    :param float timeout: in seconds
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout:g} s: {condition}")
        time.sleep(interval)
    return value


class Server:
    """One Odoo server: threads without ``workers``, else that many processes and more.

    :param str database: the database of another server, to be shared with it
    :param options: more command line options of Odoo
    :param dict env: environment variables on top of those of this process
    """

    def __init__(self, database=None, workers=0, options=(), env=None):
        self.number = next(_numbers)
        self.owns_database = database is None
        self.database = database or f"{PREFIX}_{self.number}"
        self.options = ["--workers", workers, *options]
        self.env = {**os.environ, **(env or {})}
        self.log_path = dev.STATE / f"{LOGS}-{self.number}.log"
        self.process = None
        self._client = None

    def __enter__(self):
        self.log_path.unlink(missing_ok=True)  # an earlier run's; start() appends
        if self.owns_database:
            filestore = dev.STATE / "data" / "filestore" / TEMPLATE
            dev.create_database(SETUP.venv, self.database, TEMPLATE, filestore)
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info):
        self.stop()
        if self.owns_database:
            dev.drop_database(SETUP.venv, self.database)

    def start(self):
        """Start the processes, also again after a stop or a kill."""
        port = dev.free_port()
        self.url = f"http://127.0.0.1:{port}"
        gevent_port = dev.free_port()
        self.gevent_url = f"http://127.0.0.1:{gevent_port}"  # served with workers only
        ports = ["--http-port", port, "--gevent-port", gevent_port]
        command = SETUP.command("-d", self.database, *ports, *self.options)
        with self.log_path.open("a") as log:
            self.process = dev.Process(command, log, env=self.env)

    def wait_ready(self, timeout=240.0):
        """Wait for the first answer, and until that process has loaded the database."""
        dev.wait_until_served(self.url, self.process, self.log_path, timeout)
        self._client = dev.Client(self.url, self.database)

    def stop(self):
        if self.process:
            self.process.stop()

    def kill(self, pid=None):
        """Kill one process as a power cut would, by default all of the server's."""
        if pid is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.popen.wait()
        else:
            os.kill(pid, signal.SIGKILL)

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def worker_pids(self):
        """Return the processes that serve HTTP or run crons; none in threaded mode."""
        pids = []
        for child in psutil.Process(self.pid).children():
            with suppress(psutil.NoSuchProcess):  # it ends just now
                if "gevent" not in child.cmdline():
                    pids.append(child.pid)
        return pids

    def cron_pids(self):
        """Return the processes that run crons: they wait in the postgres database."""
        rows = self.query(
            "SELECT application_name FROM pg_stat_activity WHERE datname = 'postgres'"
        )
        listening = {
            int(name.rpartition("-")[2]) for (name,) in rows if "odoo-" in name
        }
        return sorted(listening & {self.pid, *self.worker_pids()})

    def rpc(self, model, method, *args, **kwargs):
        """Call a public method as the administrator."""
        return self._client.call(model, method, *args, **kwargs)

    def find(self, xml_id):
        """Return the database id of an XML id."""
        return self._client.find(xml_id)

    def http(self, method, path, body=None, headers=(), token=None, timeout=120):
        """Send a request, with a JSON ``body``; return status, headers and text."""
        headers = dict(headers)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return dev.http(method, self.url + path, body, headers, timeout)

    def connect(self):
        """Return a connection that commits each statement; close it."""
        connection = psycopg2.connect(dbname=self.database)
        connection.autocommit = True
        return connection

    def query(self, statement, parameters=()):
        """Run one SQL statement and return its rows."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def shell(self, code):
        """Run code in an `odoo shell` of its own; return what it printed."""
        options = ["-d", self.database, "--no-http", "--log-level=error"]
        log = f"{LOGS}-{self.number}-shell.log"
        return SETUP.odoo(log, *options, subcommand=["shell"], stdin=code)

    def token(self, xml_id):
        """Generate a bearer token for the configuration with this XML id."""
        printed = self.shell(
            f"config = env.ref({xml_id!r})\n"
            "print(env['bj.api.sync.token']._generate(config, 'system test'))\n"
            "env.cr.commit()\n"
        )
        return printed.split()[-1]
