from pathlib import Path

from markupsafe import Markup
from odoo import models

from ..tools import markdown

ROUTE = "/bj_api_sync/docs"
ROOT = Path(__file__).parents[1]
# Pages in the order in which they are best read.
PAGES = {
    "readme": "README.md",
    "quick-start": "docs/quick-start.md",
    "inbound": "docs/inbound.md",
    "outbound": "docs/outbound.md",
    "field-mapping": "docs/field-mapping.md",
    "authentication": "docs/authentication.md",
    "headers-parameters": "docs/headers-parameters.md",
    "automation": "docs/automation.md",
    "scripts": "docs/scripts.md",
    "delivery": "docs/delivery.md",
    "api-reference": "docs/api-reference.md",
    "postman": "docs/postman.md",
    "security": "docs/security.md",
    "threats": "docs/threats.md",
    "performance": "docs/performance.md",
    "troubleshooting": "docs/troubleshooting.md",
    "glossary": "docs/glossary.md",
    "development": "docs/development.md",
    "changelog": "CHANGELOG.md",
}
LANGUAGES = {"en": "English", "uk": "Українською"}


class BjApiSyncGuide(models.AbstractModel):
    """The documentation as pages inside Odoo."""

    _name = "bj.api.sync.guide"
    _description = "API Guide"

    def _get_page(self, page, lang=None):
        """Return the values of the page's template, ``None`` if there is no such page.

        :param str lang: ``en`` or ``uk``; without it the user's language, else English
        """
        if page not in PAGES:
            return None
        wanted = lang or ("uk" if (self.env.lang or "").startswith("uk") else "en")
        used = "uk" if wanted == "uk" and _path(page, "uk").is_file() else "en"
        base = f"{ROUTE}/{lang}" if lang else ROUTE
        text = _path(page, used).read_text(encoding="utf-8")
        # Links to a heading are the same in every language.
        anchors = markdown.anchors(_path(page, "en").read_text(encoding="utf-8"))
        return {
            "page": page,
            "title": markdown.title(text),
            "text": Markup(  # nosec B704 - a page of ours; the renderer escapes
                markdown.render(text, lambda link: _resolve(link, base), anchors)
            ),
            "page_lang": used,  # QWeb has a "lang" of its own
            "menu": [
                {"name": name, "url": f"{base}/{name}", "title": _title(name, wanted)}
                for name in PAGES
            ],
            "languages": [
                {"title": LANGUAGES[code], "url": f"{ROUTE}/{code}/{page}"}
                for code in LANGUAGES
                if code != used and _path(page, code).is_file()
            ],
        }


def _path(page, lang):
    path = ROOT / PAGES[page]
    return path if lang == "en" else path.parent / lang / path.name


def _title(page, lang):
    path = _path(page, lang)
    return markdown.title(
        (path if path.is_file() else _path(page, "en")).read_text(encoding="utf-8")
    )


def _resolve(link, base):
    """Return where a link of a Markdown file leads inside Odoo."""
    path, separator, anchor = link.partition("#")
    if "://" in path or not path:
        return link
    folder, _separator, name = path.rpartition("/")
    page = name.removesuffix(".md").lower()
    if page not in PAGES or not name.endswith(".md"):
        return None
    if folder.endswith("uk"):
        base = f"{ROUTE}/uk"
    return f"{base}/{page}{separator}{anchor}"
