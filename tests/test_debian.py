import gzip
import hashlib
import io
import lzma
import os
import tarfile
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ..devtools import debian
from .pure_case import PureCase

LIST = """\
# deb http://mirror.example/off stable main
deb http://mirror.example/os/ stable main contrib  # the first
deb [arch=amd64 signed-by=/a/key.gpg] https://mirror.example/other stable main
deb-src http://mirror.example/sources stable main
deb http://mirror.example/third-party ./
deb http://mirror.example/extra stable contrib
deb cdrom:[Debian]/ stable main
"""
DEB822 = """\
Types: deb
# a comment between
URIs: http://mirror.example/os
  http://mirror.example/second
Suites: stable stable-updates
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/off
Suites: stable
Components: main

Types: deb
URIs: http://mirror.example/extra
Suites: stable
Components: contrib
"""
FONT = "usr/share/fonts/x/X.otf"
ADDONS = "usr/lib/python3/dist-packages/odoo/addons"


def tar(files, links=()):
    """Return a tar.xz archive of {path: content} and {path: target of the link}."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:xz") as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(f"./{path}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for path, target in dict(links).items():
            info = tarfile.TarInfo(f"./{path}")
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return raw.getvalue()


def ar(members):
    parts = [b"!<arch>\n"]
    for name, content in members.items():
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
        parts += [head.encode(), content, b"\n" * (len(content) % 2)]
    return b"".join(parts)


def package(files, links=()):
    data = tar(files, links)
    return ar({"debian-binary": b"2.0\n", "control.tar.xz": b"x", "data.tar.xz": data})


ODOO = package(
    {
        "etc/odoo/odoo.conf": b"not wanted",
        "usr/bin/odoo": b"import odoo.cli\n",
        "usr/lib/python3/dist-packages/odoo/release.py": b"version_info = (19, 0)\n",
        f"{ADDONS}/web/__manifest__.py": b"{}",
    },
    {f"{ADDONS}/web/X.otf": os.path.relpath(FONT, f"{ADDONS}/web")},
)
FONTS = package({FONT: b"a font"})


class FakeMirror:
    """A mirror on loopback whose files are in a temporary folder."""

    def __init__(self, folder):
        self.folder = folder
        quiet = {"log_message": lambda *args: None}
        handler = type("Handler", (SimpleHTTPRequestHandler,), quiet)
        handler = partial(handler, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        # It looks that often whether it should stop, and each test stops one.
        serve = partial(self.server.serve_forever, poll_interval=0.01)
        threading.Thread(target=serve, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def put(self, path, content):
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def publish(self, packages, suite="unstable", extension=".xz"):
        """Write packages, given as {name: (depends, content)}, and their indexes."""
        paragraphs = []
        for name, (depends, content) in packages.items():
            self.put(f"pool/{name}.deb", content)
            paragraphs.append(
                f"Package: {name}\nDepends: {depends}\nDescription: text\n  more\n"
                f"Filename: pool/{name}.deb\nSize: {len(content)}\n"
                f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
            )
        compress = {".xz": lzma.compress, ".gz": gzip.compress}[extension]
        index = compress("\n".join(paragraphs).encode())
        self.put(f"dists/{suite}/{debian.INDEX}{extension}", index)
        row = f" {hashlib.sha256(index).hexdigest()} {len(index)} {debian.INDEX}"
        release = f"Origin: Debian\nMD5Sum:\n x 1 y\nSHA256:\n{row}{extension}\n"
        self.put(f"dists/{suite}/InRelease", release.encode())


class TestSources(PureCase):
    def test_lines_name_mirrors(self):
        self.assertEqual(
            debian.list_sources(LIST),
            ["http://mirror.example/os/", "https://mirror.example/other"],
        )

    def test_paragraphs_name_mirrors(self):
        self.assertEqual(
            debian.deb822_sources(DEB822),
            ["http://mirror.example/os", "http://mirror.example/second"],
        )

    def test_the_folder_of_apt_is_read_and_each_mirror_named_once(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "sources.list.d").mkdir()
            self.assertEqual(debian.mirrors(folder), [])
            (folder / "sources.list").write_text(LIST)
            (folder / "sources.list.d" / "a.sources").write_text(DEB822)
            (folder / "sources.list.d" / "a.save").write_text(
                "deb http://x.example a main"
            )
            self.assertEqual(
                debian.mirrors(folder),
                [
                    "http://mirror.example/os",
                    "https://mirror.example/other",
                    "http://mirror.example/second",
                ],
            )


class TestAr(PureCase):
    def test_members_of_odd_and_even_length_are_read(self):
        members = {"debian-binary": b"2.0\n", "odd": b"123", "even": b"1234"}
        self.assertEqual(dict(debian.ar_members(io.BytesIO(ar(members)))), members)

    def test_other_files_and_damaged_ones_are_refused(self):
        for raw in (b"", b"<html>", ar({"a": b"1"}) + b"rest"):
            with self.subTest(raw=raw), self.assertRaises(debian.DebianError):
                list(debian.ar_members(io.BytesIO(raw)))


class TestInstallSource(PureCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.mirror = FakeMirror(self.folder / "mirror")
        self.addCleanup(self.mirror.stop)
        self.apt = self.folder / "apt"
        self.apt.mkdir()
        line = f"deb {self.mirror.url}/ stable main\n"
        (self.apt / "sources.list").write_text(line)
        self.source = self.folder / "cache" / "odoo-19.0"
        self.packages = {
            "other": ("", b"x"),
            "odoo-19": ("python3, fonts-x (>= 2) | fonts-y, adduser", ODOO),
            "fonts-x": ("", FONTS),
            "fonts-z": ("", b"not needed"),
        }

    def install(self):
        """Install from the fake mirror, which nobody has signed."""
        debian.install_source("19.0", self.source, str, self.apt, keyring=None)

    def assertRefused(self, *words):
        with self.assertRaises(debian.DebianError) as caught:
            self.install()
        for word in words:
            self.assertIn(word, str(caught.exception))
        self.assertEqual(list(self.source.parent.glob("*")), [])

    def test_the_folder_looks_like_a_checkout(self):
        for suite, extension in (("unstable", ".xz"), ("stable", ".gz")):
            with self.subTest(suite=suite):
                self.mirror.publish(self.packages, suite, extension)
                self.install()
                files = [path for path in self.source.rglob("*") if path.is_file()]
                names = {str(path.relative_to(self.source)) for path in files}
                self.assertEqual(
                    names,
                    {
                        *("odoo-bin", "requirements.txt", "odoo/release.py"),
                        *("odoo/addons/web/__manifest__.py", "odoo/addons/web/X.otf"),
                    },
                )
                web = self.source / "addons" / "web"
                self.assertEqual((web / "X.otf").read_bytes(), b"a font")
                self.assertFalse((web / "X.otf").is_symlink())
                (self.source / "addons").unlink()
                self.source.rename(self.folder / suite)
                (self.mirror.folder / "dists" / suite / "InRelease").unlink()

    def test_a_file_that_differs_from_its_index_is_refused(self):
        for path in ("pool/odoo-19.deb", f"dists/unstable/{debian.INDEX}.xz"):
            with self.subTest(path=path):
                self.mirror.publish(self.packages)
                good = (self.mirror.folder / path).read_bytes()
                self.mirror.put(path, good[:-1] + b"\0")
                self.assertRefused("SHA-256")
                self.mirror.put(path, good + b"more")
                self.assertRefused("larger than")

    def test_a_package_of_something_else_is_refused(self):
        for content in (FONTS, ar({"debian-binary": b"2.0\n"}), ar({"data.tar": b"x"})):
            with self.subTest(content=content[:100]):
                self.mirror.publish({**self.packages, "odoo-19": ("", content)})
                self.assertRefused("")

    def test_a_missing_package_is_said_for_each_suite(self):
        self.mirror.publish({"other": ("", b"x")}, "unstable")
        self.assertRefused(
            "unstable", "has no package odoo-19", "testing", "File not found"
        )

    def test_a_mirror_that_does_not_answer_is_named(self):
        self.mirror.publish(self.packages)
        line = "deb http://127.0.0.1:9/os stable main\n"
        (self.apt / "sources.list").write_text(line)
        self.assertRefused("http://127.0.0.1:9/os", "refused")
        (self.apt / "sources.list").unlink()
        self.assertRefused("apt has no sources")

    def test_an_invalid_signature_is_refused_where_it_can_be_checked(self):
        self.mirror.publish(self.packages)
        keyring = self.folder / "empty.gpg"
        keyring.touch()
        if debian.shutil.which("gpgv"):
            with self.assertRaisesRegex(debian.DebianError, "signature"):
                debian.read_release(self.mirror.url, "unstable", keyring)
        self.assertIn("SHA256", debian.read_release(self.mirror.url, "unstable", None))
