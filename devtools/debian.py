"""Odoo's source out of its Debian package, for machines that reach only package mirrors.

The mirror is the one that the machine's own apt sources name, the suite one that may be
newer than the machine's: nothing is installed, the package is only unpacked, which needs
neither root nor Debian's tools. What is trusted: the Release file (its signature is
checked where gpgv and Debian's keys are at hand), the indexes that it names by SHA-256,
and the packages that those name by SHA-256.
"""

import gzip
import hashlib
import io
import lzma
import re
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import partial
from pathlib import Path

APT = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITES = ("unstable", "testing", "stable")
INDEX = "main/binary-amd64/Packages"  # the packages wanted fit every architecture
TIMEOUT = 30  # seconds for a connection, and for each read
MIB = 2**20
PYTHON = "usr/lib/python3/dist-packages"
# Later versions of the icon font, under another name, still have the icons of this one.
ICONS = "usr/share/fonts/woff/font-awesome/fa-solid-900.woff2"

# The package names no versions. With these the tests of the addon pass.
REQUIREMENTS = """\
asn1crypto==1.5.1
Babel==2.10.3; python_version < '3.13'
Babel==2.17.0; python_version >= '3.13'
cbor2
chardet==5.2.0
cryptography==42.0.8
docutils==0.20.1
freezegun==1.5.5
geoip2==2.9.0
gevent
greenlet
idna
Jinja2==3.1.6
libsass
lxml
lxml-html-clean
MarkupSafe
num2words
ofxparse
openpyxl
passlib==1.7.4
Pillow
polib
psutil
psycopg2
pyopenssl==24.1.0
PyPDF2==2.12.1
pyserial
python-dateutil
python-stdnum
pytz
qrcode
reportlab
requests
rjsmin
urllib3
vobject
Werkzeug==3.0.1
xlrd
XlsxWriter
xlwt
zeep
"""

# What Debian leaves out for its licence, though the assets name it: a blurred background
# in video calls.
LEFT_OUT = ("odoo/addons/mail/static/lib/selfie_segmentation/selfie_segmentation.js",)


class DebianError(Exception):
    """Why the package cannot be had, for a person to read."""


# The mirror and its indexes ---------------------------------------------------------


def mirrors(folder=APT):
    """Return the URLs of archives with a part ``main`` that apt is told to use."""
    found = []
    for path in [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]:
        if path.suffix in (".list", ".sources") and path.is_file():
            text = path.read_text(errors="replace")
            parse = deb822_sources if path.suffix == ".sources" else list_sources
            found += parse(text)
    return list(dict.fromkeys(url.rstrip("/") for url in found))


def list_sources(text):
    """Return the URLs that lines like ``deb [option=x] URL suite main`` name."""
    pattern = r"^\s*deb\s+(?:\[[^]]*\]\s*)?(https?://\S+)\s+\S+\s+([^#\n]*)"
    return [url for url, parts in re.findall(pattern, text, re.M) if is_main(parts)]


def deb822_sources(text):
    """Return the URLs that paragraphs with ``Types``, ``URIs``, ... name."""
    urls = []
    for fields in paragraphs(text):
        enabled = fields.get("Enabled", "yes").lower() not in ("no", "false", "0")
        if enabled and is_main(fields.get("Components", "")):
            urls += re.findall(r"https?://\S+", fields.get("URIs", ""))
    return urls


def is_main(components):
    return "main" in components.split()


def paragraphs(text):
    """Yield the fields of each paragraph of a Debian control file."""
    text = re.sub(r"^#.*\n", "", text, flags=re.M)
    for paragraph in re.split(r"\n[ \t]*\n", text):
        pairs = re.findall(r"^(\S+?):(.*(?:\n[ \t].*)*)", paragraph, re.M)
        if pairs:
            yield {name: value.strip() for name, value in pairs}


@dataclass(frozen=True)
class File:
    """What an index says about a file."""

    path: str  # below the URL of the mirror
    size: int
    sha256: str


def download(url, target, file=None):
    """Fetch into a file-like object; refuse what differs from its index."""
    digest, size = hashlib.sha256(), 0
    limit = file.size if file else 8 * MIB
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            for block in iter(partial(answer.read, MIB), b""):
                digest.update(block)
                size += len(block)
                if size > limit:
                    raise DebianError(f"{url} is larger than {limit} bytes.")
                target.write(block)
    except (OSError, ValueError) as error:
        raise DebianError(f"{url}: {getattr(error, 'reason', error)}.") from None
    if file and digest.hexdigest() != file.sha256:
        raise DebianError(f"{url} is not what its index says: another SHA-256.")


def release_files(text):
    """Return {path below the suite: (SHA-256, size)} of a Release file."""
    checksums = next(
        (fields["SHA256"] for fields in paragraphs(text) if "SHA256" in fields), ""
    )
    rows = [line.split() for line in checksums.splitlines()]
    return {row[2]: (row[0], int(row[1])) for row in rows if len(row) == 3}


def read_release(mirror, suite, keyring=KEYRING):
    """Return what the signed Release file of a suite holds."""
    raw = io.BytesIO()
    download(f"{mirror}/dists/{suite}/InRelease", raw)
    if shutil.which("gpgv") and keyring and keyring.exists():
        command = ["gpgv", "--status-fd", "1", "--keyring", str(keyring)]
        done = subprocess.run(command, input=raw.getvalue(), capture_output=True)
        if b"[GNUPG:] VALIDSIG " not in done.stdout or b"BADSIG" in done.stdout:
            raise DebianError(f"The signature of {suite} at {mirror} is not valid.")
    return raw.getvalue().decode(errors="replace")


def read_index(mirror, suite, keyring=KEYRING):
    """Return the list of packages of a suite, as text."""
    files = release_files(read_release(mirror, suite, keyring))
    for extension, expand in ((".xz", lzma.decompress), (".gz", gzip.decompress)):
        if INDEX + extension in files:
            sha256, size = files[INDEX + extension]
            raw = io.BytesIO()
            path = f"dists/{suite}/{INDEX}{extension}"
            download(f"{mirror}/{path}", raw, File(path, size, sha256))
            return expand(raw.getvalue()).decode()
    raise DebianError(f"{mirror} has no compressed {INDEX} for {suite}.")


def find_packages(index, name):
    """Return the Files of a package and of the fonts and scripts it depends on.

    Those are what links inside the package lead to.
    """
    wanted = re.compile(rf"^Package: ({re.escape(name)}|(?:fonts|libjs)-\S+)$", re.M)
    found = {}
    for text in index.split("\n\n"):
        if match := wanted.search(text):
            found[match[1]] = next(paragraphs(text))
    if name not in found:
        return []
    depends = [name]
    for alternatives in found[name].get("Depends", "").split(","):
        depends.append(alternatives.split("|")[0].split("(")[0].strip())
    return [
        File(fields["Filename"], int(fields["Size"]), fields["SHA256"])
        for fields in (found[depend] for depend in depends if depend in found)
    ]


def locate(name, apt=APT, keyring=KEYRING):
    """Return (mirror, Files) of a package; the first file is the package itself."""
    reasons = []
    for mirror in mirrors(apt):
        for suite in SUITES:
            try:
                files = find_packages(read_index(mirror, suite, keyring), name)
            except DebianError as error:
                reasons.append(str(error))
                continue
            if files:
                return mirror, files
            reasons.append(f"{suite} at {mirror} has no package {name}.")
    raise DebianError(" ".join(reasons) or f"apt has no sources below {apt}.")


# Unpacking --------------------------------------------------------------------------


def ar_members(file):
    """Yield (name, content) of each member of an ``ar`` archive, which a .deb is."""
    if file.read(8) != b"!<arch>\n":
        raise DebianError("This is no Debian package.")
    while header := file.read(60):
        if len(header) < 60 or header[58:] != b"`\n":
            raise DebianError("The Debian package is damaged.")
        size = int(header[48:58])
        yield header[:16].decode().strip().rstrip("/"), file.read(size)
        file.seek(size % 2, io.SEEK_CUR)


def unpack(package, folder):
    """Write the files of a package below a folder, as they would be below ``/``."""
    with open(package, "rb") as file:
        members = dict(ar_members(file))
    name = next((name for name in members if name.startswith("data.tar")), None)
    if name is None:
        raise DebianError("The Debian package holds no files.")
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    try:
        with tarfile.open(fileobj=io.BytesIO(members[name]), mode="r:*") as archive:
            files = (file for file in archive if file.name.startswith("./usr/"))
            archive.extractall(folder, files, **safely)
    except tarfile.TarError as error:
        raise DebianError(f"{name} cannot be unpacked: {error}.") from None


def arrange(folder, source):
    """Make a folder that looks like a checkout of Odoo from unpacked packages."""
    odoo = folder / PYTHON / "odoo"
    if not odoo.exists():
        raise DebianError(f"The package holds no {PYTHON}/odoo.")
    for link in [path for path in odoo.rglob("*") if path.is_symlink()]:
        content = link.resolve()
        if not content.exists() and "fontawesome" in link.name.lower():
            content = folder / ICONS
        link.unlink()
        if content.is_file():
            shutil.copyfile(content, link)
    source.mkdir()
    odoo.rename(source / "odoo")
    shutil.copyfile(folder / "usr" / "bin" / "odoo", source / "odoo-bin")
    (source / "addons").symlink_to(Path("odoo", "addons"))
    for path in LEFT_OUT:
        if (source / path).parents[2].exists() and not (source / path).exists():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).touch()
    (source / "requirements.txt").write_text(REQUIREMENTS)


def install_source(series, source, tell=print, apt=APT, keyring=KEYRING):
    """Make the folder of Odoo's source of a series from Debian's package.

    :param tell: called with a text before what may take long
    :raise DebianError: when it cannot be had
    """
    mirror, files = locate(f"odoo-{series.partition('.')[0]}", apt, keyring)
    work = source.with_name(source.name + ".debian")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        size = sum(file.size for file in files) // MIB
        tell(f"unpacking Debian's package, {size} MiB")
        for file in files:
            package = work / "package.deb"
            with package.open("wb") as target:
                download(f"{mirror}/{file.path}", target, file)
            unpack(package, work / "root")
        arrange(work / "root", work / "source")
        (work / "source").rename(source)
    finally:
        shutil.rmtree(work, ignore_errors=True)
