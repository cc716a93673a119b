from pathlib import Path

from ..tools import markdown
from .pure_case import PureCase

ROOT = Path(__file__).parents[1]


class TestRender(PureCase):
    def test_blocks_become_the_elements_they_look_like(self):
        for text, expected in [
            ("# A `b` c", '<h1 id="a-b-c">A <code>b</code> c</h1>'),
            ("one\ntwo\n\nthree", "<p>one\ntwo</p>\n<p>three</p>"),
            ("- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
            ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
            ("- a\n  goes on\n- b", "<ul><li>a\ngoes on</li><li>b</li></ul>"),
            ("```json\n{}\n```", "<pre><code>{}</code></pre>"),
            ("    indented\n      more", "<pre><code>indented\n  more</code></pre>"),
            ("- a\n\n  - b", "<ul><li><p>a</p>\n<ul><li>b</li></ul></li></ul>"),
        ]:
            with self.subTest(text=text):
                self.assertEqual(markdown.render(text), expected)

    def test_code_inside_a_list_stays_in_its_item(self):
        html = markdown.render("1. a\n\n   ```bash\n   x\n     y\n   ```\n\n2. b")
        self.assertEqual(
            html,
            "<ol><li><p>a</p>\n<pre><code>x\n  y</code></pre></li><li><p>b</p></li></ol>",
        )

    def test_a_table_keeps_an_escaped_bar_in_its_cell(self):
        html = markdown.render("| a | b |\n| --- | --- |\n| `x\\|y` | |\n\nend")
        self.assertIn("<th>a</th><th>b</th>", html)
        self.assertIn("<td><code>x|y</code></td><td></td>", html)
        self.assertTrue(html.endswith("<p>end</p>"))

    def test_marks_inside_a_line_nest_and_code_is_left_alone(self):
        for text, expected in [
            ("**a *b* `c`**", "<strong>a <em>b</em> <code>c</code></strong>"),
            ("`**a** <b>`", "<code>**a** &lt;b&gt;</code>"),
            ("a * b * c, x_y_z", "a * b * c, x_y_z"),
            (r"\*a\*", "*a*"),
            ("[a](b.md)", '<a href="b.md">a</a>'),
        ]:
            with self.subTest(text=text):
                self.assertEqual(markdown.render(text), f"<p>{expected}</p>")

    def test_nothing_in_a_text_becomes_html_or_runs(self):
        for text in [
            "<script>alert(1)</script>",
            "[x](javascript:alert)",
            '[x](http://a"onclick="alert)',
            "```\n</code><script>\n```",
            '# <img src="x">',
            "| <b> |\n| --- |\n| <i> |",
        ]:
            with self.subTest(text=text):
                html = markdown.render(text)
                for bad in ("<script", "<img", "<b>", "<i>", 'href="java', '"onclick'):
                    self.assertNotIn(bad, html)

    def test_a_target_is_resolved_or_left_out(self):
        html = markdown.render("[a](a.md) [b](b.md)", {"a.md": "/docs/a"}.get)
        self.assertEqual(html, '<p><a href="/docs/a">a</a> b</p>')

    def test_every_page_of_the_documentation_is_understood_whole(self):
        pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
        self.assertGreater(len(pages), 15)
        for page in pages:
            with self.subTest(page=page.name):
                html = markdown.render(page.read_text(encoding="utf-8"))
                shown = "".join(
                    part.partition("</code>")[2]
                    for part in ("</code>" + html).split("<code>")
                )
                for mark in ("```", "**", "](", "| ---"):
                    self.assertNotIn(mark, shown)
