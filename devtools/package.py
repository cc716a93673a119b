"""The addon for one series of Odoo: its manifest, and an archive to be installed."""

import re
import zipfile

ADDON = "bj_api_sync"
HOME_SERIES = "18.0"  # the one of the manifest
# What only those need who change the addon.
LEFT_OUT = {
    *("bench", "dev", "devtools", "dist", "pyproject.toml", "tests", "static/tests"),
}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same files make the same archive


def series_manifest(text, series):
    """Return the text of the manifest with the version for a series of Odoo.

    Odoo does not install an addon whose version begins with another series.
    """
    found = rf'("version": "){re.escape(HOME_SERIES)}\.'
    return re.sub(found, rf"\g<1>{series}.", text)


def version(manifest):
    return re.search(r'"version": "([\d.]+)"', manifest)[1]


def files(root, folder=None):
    """Yield the files that belong into an archive, in a fixed order."""
    for path in sorted((folder or root).iterdir()):
        name = path.relative_to(root).as_posix()
        if path.name[0] in "._" and path.name[:2] != "__":
            continue
        if name in LEFT_OUT or path.name == "__pycache__" or path.suffix == ".pyc":
            continue
        if path.is_dir():
            yield from files(root, path)
        else:
            yield path


def build(root, series, folder):
    """Write the archive for a series of Odoo into a folder and return its path.

    It holds one folder with the technical name, to be unpacked into an addons path.
    """
    manifest = series_manifest((root / "__manifest__.py").read_text(), series)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{ADDON}-{version(manifest)}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files(root):
            name = path.relative_to(root).as_posix()
            content = path.read_bytes()
            if name == "__manifest__.py":
                content = manifest.encode()
            info = zipfile.ZipInfo(f"{ADDON}/{name}", EPOCH)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return target
