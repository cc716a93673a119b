"""Checks of security that `./dev lint` makes: bandit over our code, and the audit of what
is installed for it.

Their programs live in an environment of their own, because their requirements and Odoo's
pins contradict each other.
"""

import json
import re
import subprocess

PACKAGES = ("bandit[toml]==1.9.4", "pip-audit==2.10.1")
# What only those run who change the addon.
LEFT_OUT = ("tests", "bench", "devtools", "dist")
PATIENCE = (
    25  # seconds until the audit is given up: the lint must not wait for a network
)


class Complaint(Exception):
    """What was found, and in ``hint`` what to do."""

    def __init__(self, message, hint):
        super().__init__(message)
        self.hint = hint


def bandit(venv, root):
    """Return how many lines were looked at.

    :raise Complaint: with the places, as bandit shows them
    """
    command = [venv / "bin" / "bandit", "-q", "-r", ".", "-f", "json"]
    command += [
        "-c",
        "pyproject.toml",
        "-x",
        ",".join(f"./{name}" for name in LEFT_OUT),
    ]
    done = subprocess.run(
        list(map(str, command)), cwd=root, capture_output=True, text=True
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise Complaint(done.stderr.strip(), "bandit did not run to its end.") from None
    found = [
        f"{row['filename']}:{row['line_number']}: {row['test_id']} {row['issue_text']}"
        for row in report["results"]
    ]
    if found or report["errors"]:
        places = "\n".join(found + [str(error) for error in report["errors"]])
        hint = "Mend it, or explain at its place: `# nosec B608 - why it is safe`."
        raise Complaint(places, hint)
    return report["metrics"]["_totals"]["loc"]


def wanted(manifest, pinned, installed, odoo):
    """Return ``{name: version}`` of what we have chosen, with the version that is used.

    :param dict manifest: of the addon
    :param pinned: requirements of ours, ``name==version``
    :param dict installed: ``{name: version}`` of the environment
    :param odoo: names that Odoo's own requirements pin; their versions are its choice
    :return: ours, and those of the manifest that are Odoo's choice
    """
    ours = dict(line.split("==") for line in pinned if "==" in line)
    ours = {re.sub(r"\[.*\]", "", name): version for name, version in ours.items()}
    needed = manifest.get("external_dependencies", {}).get("python", [])
    theirs = {name: installed[name] for name in needed if name in odoo & set(installed)}
    others = set(needed) & set(installed) - set(theirs)
    return {**ours, **{name: installed[name] for name in others}}, theirs


def audit(venv, packages, folder):
    """Return ``({name: [vulnerability]}, [name that could not be looked up])``."""
    path = folder / "audit.txt"
    path.write_text("".join(f"{name}=={packages[name]}\n" for name in sorted(packages)))
    command = [venv / "bin" / "pip-audit", "-r", path, "--no-deps", "--disable-pip"]
    command += ["-f", "json", "--progress-spinner", "off", "--timeout", "5"]
    try:
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE
        )
        rows = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return {}, sorted(packages)
    found = {
        row["name"]: [vulnerability["id"] for vulnerability in row["vulns"]]
        for row in rows
        if row.get("vulns")
    }
    return found, [row["name"] for row in rows if "skip_reason" in row]


def dependencies(venv, folder, ours, theirs):
    """Return what the audit came to, in one line.

    Only what we have chosen ourselves can be mended here; of Odoo's choice it is told.

    :raise Complaint: a version of ours has a known vulnerability
    """
    found, unknown = audit(venv, {**theirs, **ours}, folder)
    told = {name: ", ".join(ids) for name, ids in found.items()}
    bad = [f"{name} {ours[name]}: {ids}" for name, ids in told.items() if name in ours]
    if bad:
        raise Complaint("\n".join(bad), "Pin a version without it.")
    parts = [f"{len(ours) + len(theirs) - len(unknown)} packages looked up"]
    if unknown:
        parts = [
            f"the database of vulnerabilities does not know or cannot be reached for "
            f"{len(unknown)} of {len(ours) + len(theirs)} packages, so they were NOT "
            "audited"
        ]
    parts += [f"Odoo's {name} has {ids}" for name, ids in told.items()]
    return "; ".join(parts)
