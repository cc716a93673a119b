import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

from harness import PREFIX, ROOT, SETUP, dev

NOWHERE = "http://127.0.0.1:9/odoo"  # refuses connections at once
OTHER = "19.0"


def run_dev(*arguments, **env):
    command = [sys.executable, str(ROOT / "dev"), *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )
    return done.returncode, done.stdout


class DevCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class TestStandIn(DevCase):
    def setUp(self):
        super().setUp()
        self.cache = self.folder / dev.ADDON
        self.cache.mkdir()
        for venv in dev.CACHE.glob("venv-*"):
            (self.cache / venv.name).symlink_to(venv)
        self.env = {
            "XDG_CACHE_HOME": str(self.folder),
            "ODOO_REPOSITORY": NOWHERE,
            "ODOO_SRC": "",
        }

    def put_source(self):
        """Put the other series into the cache; a hull of it if this is the home series."""
        source = self.cache / f"odoo-{OTHER}"
        if dev.SERIES == OTHER:
            source.symlink_to(SETUP.source)
            return
        (source / "odoo").mkdir(parents=True)
        (source / "odoo-bin").touch()
        (source / "odoo" / "release.py").write_text("version_info = (19, 0)\n")
        shutil.copy(SETUP.source / "requirements.txt", source)

    def test_another_series_stands_in_and_is_named(self):
        self.put_source()
        arguments = ("test", "--fast", "-k", "test_retry")
        code, output = run_dev(*arguments, **self.env)
        lines = output.rstrip().splitlines()
        self.assertIn("The source of Odoo 18.0 cannot be reached: Odoo s", output)
        self.assertIn(f"Odoo {OTHER} is taken instead. Put a checkout", output)
        self.assertEqual(
            lines[-2],
            f"Tested on Odoo {OTHER}, not 18.0, whose source cannot be reached.",
        )
        self.assertRegex(lines[-1], r"^\d+ passed, \d+ failed$")
        if dev.SERIES == OTHER:
            self.assertEqual((code, lines[-1][-9:]), (0, " 0 failed"), output)

    def test_only_run_and_test_take_another_series(self):
        self.put_source()
        code, output = run_dev("lint", "--no-db", **self.env)
        self.assertEqual(code, 1)
        self.assertIn("or name it with ODOO_SRC", output)
        self.assertNotIn("instead", output)

    def test_a_source_that_is_named_is_not_replaced(self):
        self.put_source()
        code, output = run_dev("test", "--fast", **{**self.env, "ODOO_SRC": "/nothing"})
        self.assertEqual(code, 1)
        self.assertIn("/nothing holds no Odoo source", output)


class TestPackage(DevCase):
    def test_the_archives_are_installed_from_an_addons_path(self):
        code, output = run_dev("package", "-o", str(self.folder))
        self.assertEqual(code, 0, output)
        names = sorted(path.name for path in self.folder.glob("*.zip"))
        self.assertEqual(len(names), 2)
        for name, series in zip(names, ("18.0", OTHER), strict=True):
            self.assertRegex(name, rf"^bj_api_sync-{series}\.\d+\.\d+\.\d+\.zip$")
        addons = self.folder / "addons"
        with zipfile.ZipFile(next(self.folder.glob(f"*-{dev.SERIES}.*"))) as archive:
            archive.extractall(addons)
        self.assertFalse((addons / dev.ADDON / "tests").exists())
        self.assertFalse((addons / dev.ADDON / "dev").exists())
        database = f"{PREFIX}_package"
        base, filestore = dev.base_database(SETUP, dev.Step("Package"))
        dev.create_database(SETUP.venv, database, base, filestore)
        self.addCleanup(dev.drop_database, SETUP.venv, database)
        path = f"--addons-path={SETUP.source / 'addons'},{addons}"
        install = ["-i", dev.ADDON, "--stop-after-init", "--no-http"]
        SETUP.odoo("system-package.log", "-d", database, path, *install)
        dev.check_log(dev.STATE / "system-package.log")
        rows = dev.sql(
            SETUP.venv,
            "SELECT state, latest_version FROM ir_module_module"
            f" WHERE name = '{dev.ADDON}'",
            database,
        )
        [[state, version]] = rows
        self.assertEqual(state, "installed")
        self.assertTrue(version.startswith(f"{dev.SERIES}."), version)
