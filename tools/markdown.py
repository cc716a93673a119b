"""Render the Markdown that the addon's own documentation is written in.

A subset of CommonMark with tables: headings, paragraphs, lists, tables, fenced and
indented code, and inline code, emphasis and links. Whatever else stands in the text is
shown as text; HTML is always escaped.
"""

import re
from html import escape

FENCE = re.compile(r"(`{3,})\s*([\w-]*)[^`]*$")
HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*$")
ITEM = re.compile(r"([-*]|\d{1,9}[.)])(\s+|$)")
DELIMITER = re.compile(r"\|?\s*:?-{3,}:?\s*(\|\s*:?-{3,}:?\s*)*\|?$")
CELL = re.compile(r"(?<!\\)\|")
INLINE = re.compile(
    r"(?P<ticks>`+)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)"
    r"|\*\*(?P<strong>\S(?:.*?\S)?)\*\*"
    r"|(?<![\w*])\*(?P<em>[^\s*](?:[^*]*[^\s*])?)\*(?![\w*])"
    r"|!?\[(?P<text>[^\]]*)\]\((?P<target>[^()\s]+)\)"
    r"|\\(?P<literal>[\\`*_{}\[\]()#+.!|-])",
    re.S,
)
SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")


def render(text, resolve=lambda target: target, anchors=()):
    """Return the HTML of a Markdown text.

    :param resolve: gives the address of a link's target, ``None`` to show its text only
    :param anchors: of the headings, in their order, for those of a translated page
    """
    return _Renderer(resolve, anchors).blocks(text.expandtabs(4).splitlines())


def anchors(text):
    """Return the anchors of the headings of a page, in their order."""
    return re.findall(r'<h[1-6] id="([^"]*)">', render(text))


def slug(heading):
    """Return the anchor that GitHub gives to a heading."""
    plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).strip().lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain))


def title(text):
    """Return the first heading of a page."""
    match = re.search(r"^#\s+(.+)$", text, re.M)
    return re.sub(r"[`*]", "", match[1]).strip() if match else ""


class _Renderer:
    def __init__(self, resolve, anchors):
        self.resolve = resolve
        self.anchors = iter(anchors)

    def blocks(self, lines, is_tight=False):
        """Return the HTML of lines; in a tight list item paragraphs have no tag."""
        out = []
        index = 0
        while index < len(lines):
            line = lines[index]
            if not line.strip():
                index += 1
                continue
            for read in (
                self._fence,
                self._indented,
                self._heading,
                self._table,
                self._list,
            ):
                found = read(lines, index)
                if found:
                    html, index = found
                    break
            else:
                text, index = self._paragraph(lines, index)
                html = text if is_tight else f"<p>{text}</p>"
            out.append(html)
        return "\n".join(out)

    def _fence(self, lines, index):
        match = FENCE.match(lines[index].strip())
        if not match:
            return None
        indent = _indent(lines[index])
        code = []
        index += 1
        while index < len(lines) and lines[index].strip() != match[1]:
            code.append(lines[index][min(indent, _indent(lines[index])) :])
            index += 1
        return _code(code), index + 1

    def _indented(self, lines, index):
        if _indent(lines[index]) < 4:
            return None
        code = []
        while index < len(lines) and (
            not lines[index].strip() or _indent(lines[index]) >= 4
        ):
            code.append(lines[index][4:])
            index += 1
        while not code[-1].strip():
            code.pop()
        return _code(code), index

    def _heading(self, lines, index):
        match = HEADING.match(lines[index].strip())
        if not match:
            return None
        level, text = len(match[1]), match[2]
        anchor = next(self.anchors, None) or escape(slug(text))
        return f'<h{level} id="{anchor}">{self.inline(text)}</h{level}>', index + 1

    def _table(self, lines, index):
        if index + 1 >= len(lines) or "|" not in lines[index]:
            return None
        if not DELIMITER.match(lines[index + 1].strip()):
            return None
        head = self._row(lines[index], "th")
        index += 2
        rows = []
        while index < len(lines) and "|" in lines[index]:
            rows.append(self._row(lines[index], "td"))
            index += 1
        body = "\n".join(rows)
        return (
            '<div class="table-responsive"><table class="table table-sm">'
            f"<thead>{head}</thead><tbody>{body}</tbody></table></div>"
        ), index

    def _row(self, line, tag):
        cells = CELL.split(line.strip().removeprefix("|"))
        if not cells[-1].strip():
            cells.pop()
        return (
            "<tr>"
            + "".join(
                f"<{tag}>{self.inline(cell.strip().replace(chr(92) + '|', '|'))}</{tag}>"
                for cell in cells
            )
            + "</tr>"
        )

    def _list(self, lines, index):
        first = ITEM.match(lines[index].lstrip())
        if not first:
            return None
        indent = _indent(lines[index])
        is_ordered = first[1][0].isdigit()
        items = []
        is_tight = True
        while index < len(lines):
            match = ITEM.match(lines[index].lstrip())
            if (
                not match
                or _indent(lines[index]) != indent
                or match[1][0].isdigit() != is_ordered
            ):
                break
            width = indent + len(match[1]) + (len(match[2]) or 1)
            item, index, has_gap = _item(lines, index, width)
            is_tight = is_tight and not has_gap
            items.append(item)
        html = "".join(f"<li>{self.blocks(item, is_tight)}</li>" for item in items)
        start = int(first[1][:-1]) if is_ordered else 1
        opening = f'<ol start="{start}">' if start != 1 else None
        tag = "ol" if is_ordered else "ul"
        return f"{opening or f'<{tag}>'}{html}</{tag}>", index

    def _paragraph(self, lines, index):
        text = [lines[index].strip()]
        index += 1
        while index < len(lines) and not _starts_block(lines, index):
            text.append(lines[index].strip())
            index += 1
        return self.inline("\n".join(text)), index

    def inline(self, text):
        out = []
        position = 0
        for match in INLINE.finditer(text):
            out.append(escape(text[position : match.start()]))
            out.append(self._mark(match))
            position = match.end()
        out.append(escape(text[position:]))
        return "".join(out)

    def _mark(self, match):
        if match["code"] is not None:
            return f"<code>{escape(match['code'].strip())}</code>"
        if match["strong"] is not None:
            return f"<strong>{self.inline(match['strong'])}</strong>"
        if match["em"] is not None:
            return f"<em>{self.inline(match['em'])}</em>"
        if match["literal"] is not None:
            return escape(match["literal"])
        text, target = self.inline(match["text"]), self.resolve(match["target"])
        if not target or not _is_harmless(target):
            return text
        if SCHEME.match(target):
            return (
                f'<a href="{escape(target)}" target="_blank" rel="noopener">{text}</a>'
            )
        return f'<a href="{escape(target)}">{text}</a>'


def _item(lines, index, width):
    """Return the lines of a list item, where the next begins, and if it has a gap."""
    item = [lines[index][width:]]
    index += 1
    has_gap = False
    while index < len(lines):
        line = lines[index]
        if line.strip() and _indent(line) < width:
            if not item[-1].strip() or _starts_block(lines, index):
                break
            item.append(line.strip())  # a lazy continuation of the paragraph
        else:
            item.append(line[width:])
        index += 1
    while item and not item[-1].strip():
        item.pop()
        has_gap = has_gap or index < len(lines)
    inner = "\n".join(item)
    return item, index, "\n\n" in inner


def _starts_block(lines, index):
    line = lines[index].strip()
    return bool(
        not line
        or FENCE.match(line)
        or HEADING.match(line)
        or ITEM.match(line)
        or (
            "|" in line
            and index + 1 < len(lines)
            and DELIMITER.match(lines[index + 1].strip())
        )
    )


def _indent(line):
    return len(line) - len(line.lstrip(" "))


def _code(lines):
    return f"<pre><code>{escape(chr(10).join(lines))}</code></pre>"


def _is_harmless(target):
    scheme = SCHEME.match(target)
    return not scheme or scheme[0].lower() in ("http:", "https:", "mailto:")
