"""What holds for the parsers and formatters of ``tools/``, whatever they are given.

Each property takes one made-up value and fails by an exception that is not our own, by a
wrong answer, or by taking longer than :data:`SECONDS`.
"""

import importlib
import json
import math
import sys
import time
import traceback
import types
from datetime import datetime, timezone

import hypothesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SECONDS = 5  # for one value; a machine under load needs some
EXAMPLES = 150  # of one round
NOW = datetime(2025, 1, 31, 10, tzinfo=timezone.utc)

words = st.sampled_from(
    "name ref qty price born parent tags id active limit offset order fields cursor count "
    "domain name__ilike qty__gt qty__in price__lt born__gte parent__isnull tags__nin "
    "password token secret address.city a\\.b".split()
)
texts = st.one_of(st.text(max_size=60), words)
odd = st.text(
    alphabet="[](){}\"',:\\|&!*_#<>=%;/?.- \n\t0123456789abeEINf", max_size=200
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
    ),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=5)
bodies = st.one_of(
    st.binary(max_size=200),
    odd.map(lambda text: text.encode("utf-8", "surrogatepass")),
    values.map(lambda value: json.dumps(value).encode()),
    st.integers(1, 3000).map(lambda depth: b"[" * depth + b"]" * depth),
    st.integers(1, 6000).map(lambda size: b"1" * size),
)
domains = st.one_of(
    odd,
    st.lists(
        st.one_of(
            st.sampled_from(["&", "|", "!"]),
            st.tuples(
                words,
                st.sampled_from(["=", "!=", "in", "ilike", ">", "child_of", "?"]),
                values,
            ),
        ),
        max_size=6,
    ).map(lambda items: json.dumps(items) if len(items) % 2 else repr(items)),
)
headers = st.one_of(
    odd,
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT")),
)
templates = st.lists(
    st.one_of(odd, words.map(lambda key: "{" + key + "}")), max_size=6
).map(lambda parts: "https://example.com/" + "".join(parts))


def load(root):
    """Return ``{name: property}``, with the modules of ``tools/`` below this folder.

    The package is a stand-in, since the real one imports Odoo.
    """
    package = types.ModuleType("bj_fuzzed")
    package.__path__ = [str(root)]
    sys.modules["bj_fuzzed"] = package
    return properties("bj_fuzzed")


def play(prove, seed, number, examples=EXAMPLES):
    """Return how the property failed in this round, ``""`` if it held.

    :param prove: ``(strategy, function)``
    """
    strategy, function = prove
    run = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )(hypothesis.given(strategy)(function))
    try:
        hypothesis.seed(seed * 1000 + number)(run)()
    except Exception as error:
        notes = "\n".join(getattr(error, "__notes__", ()))
        return f"{notes}\n{''.join(traceback.format_exception(error, limit=-4))}"
    return ""


def properties(package):
    """Return ``{name: property}`` of the modules of this package."""

    def tool(name):
        return importlib.import_module(f"{package}.tools.{name}")

    errors = importlib.import_module(f"{package}.exceptions")
    found = {}

    def holds_for(strategy):
        def add(function):
            def timed(value):
                begin = time.monotonic()
                function(value)
                took = time.monotonic() - begin
                assert took < SECONDS, f"it took {took:.1f} s"

            found[function.__name__] = (strategy, timed)
            return function

        return add

    for add in (
        *(_add_of_bodies, _add_of_requests, _add_of_addresses, _add_of_pages),
        *(_add_of_texts, _add_of_secrets, _add_of_scripts),
    ):
        add(holds_for, tool, errors)
    return found


def _add_of_bodies(holds_for, tool, errors):
    payload, lenient, mapping = tool("payload"), tool("lenient"), tool("mapping")

    @holds_for(bodies)
    def json_in(body):
        try:
            value = payload.loads(body)
        except errors.ApiError:
            return
        assert payload.loads(payload.dumps(value)) == value

    @holds_for(st.lists(bodies, max_size=3))
    def ndjson_in(rows):
        try:
            payload.loads_ndjson(b"\n".join(rows))
        except errors.ApiError:
            pass

    @holds_for(bodies)
    def form_in(body):
        try:
            payload.loads_form(body)
        except errors.ApiError:
            pass

    @holds_for(bodies)
    def lenient_json_in(body):
        try:
            lenient.loads(body)
        except (lenient.Unreadable, errors.ApiError):
            pass

    @holds_for(st.tuples(texts, objects))
    def mapping_paths(case):
        key, row = case
        try:
            path = mapping.split_key(key)
        except (ValueError, errors.ApiError):
            return
        mapping.take(row, path)
        (built,) = mapping.assemble([path], [[5]], 1)
        assert mapping.take(built, path) == 5


def _add_of_requests(holds_for, tool, errors):
    query, convert = tool("query"), tool("convert")
    fields = {
        **query.STANDARD_FIELDS,
        **{
            name: query.FilterField(name, name, kind)
            for name, kind in [
                *(("name", "char"), ("qty", "integer"), ("price", "float")),
                *(("born", "date"), ("parent", "many2one"), ("tags", "many2many")),
            ]
        },
    }

    @holds_for(st.lists(st.tuples(words, st.one_of(odd, domains, headers)), max_size=6))
    def query_filters(pairs):
        defaults = query.Paging(100, 1000)
        orders = {"name": "name", "id": "id"}
        keys = ("name", "qty")
        try:
            query.parse(
                pairs, fields, (), keys, orders, defaults, convert.to_domain_value
            )
        except errors.ApiError:
            pass

    @holds_for(domains)
    def domain_text(text):
        try:
            query.parse_domain(text, fields, convert.to_domain_value)
        except errors.ApiError:
            pass


def _add_of_addresses(holds_for, tool, errors):
    url, address = tool("url"), tool("address")

    @holds_for(st.tuples(templates, objects))
    def url_templates(case):
        template, row = case
        try:
            url.check(template)
            result = url.expand(template, row)
            url.with_params(result, [("a", "b c&d")])
        except (url.UrlError, url.PlaceholderError):
            return
        assert result.startswith("https://example.com/")

    @holds_for(texts | odd)
    def origins(text):
        origin = url.to_origin(text)
        assert origin is None or url.to_origin(origin) == origin

    @holds_for(st.ip_addresses(v=6))
    def addresses(value):
        assert value in address.address_faces(str(value))


def _add_of_pages(holds_for, tool, errors):
    pagination, announced = tool("pagination"), tool("announced")

    @holds_for(
        st.tuples(
            st.sampled_from(["offset", "page", "cursor", "link", ""]),
            st.integers(0, 5),
            st.lists(st.tuples(st.lists(values, max_size=5), values), max_size=5),
        )
    )
    def pages(case):
        style, size, answers = case
        walk = pagination.Walk(style, size)
        for items, answer in answers:
            facts = announced.read({"data": items, "more": answer}, {}, ("data",))
            walk.see(items, facts)
            walk.go_on(facts)

    @holds_for(st.tuples(values, odd))
    def announced_pages(case):
        answer, link = case
        announced.read(answer, {"link": link, "x-total-count": link}, ())


def _add_of_texts(holds_for, tool, errors):
    retry, markdown = tool("retry"), tool("markdown")

    @holds_for(headers)
    def retry_after(value):
        seconds = retry.parse_retry_after(value, NOW)
        assert seconds is None or seconds >= 0

    @holds_for(st.tuples(st.integers(100, 599), headers, bodies))
    def waits(case):
        status, value, body = case
        wait = retry.get_wait(status, {"retry-after": value}, body, NOW)
        assert wait is None or wait >= 0

    @holds_for(odd)
    def markdown_pages(text):
        html = markdown.render(text)
        assert "<script" not in html.lower()


def _add_of_secrets(holds_for, tool, errors):
    redactor = tool("redact").Redactor()

    @holds_for(
        st.tuples(st.text(alphabet="abcdefgh", min_size=8, max_size=20), objects)
    )
    def secrets_in_json(case):
        secret, row = case
        secret = f"S3cr3t{secret}"
        text = json.dumps({**row, "password": secret})
        assert secret not in redactor.body(text, "application/json")

    @holds_for(st.one_of(odd, st.text(max_size=200)))
    def redacted_texts(text):
        redactor.body(text, "application/json")
        redactor.text(text)
        redactor.query(text)


def _add_of_scripts(holds_for, tool, errors):
    patterns, result = tool("script_patterns"), tool("script_result")

    @holds_for(st.tuples(st.text(alphabet="ab.*+?(){}[]|\\1d,^$", max_size=14), odd))
    def patterns_end(case):
        pattern, text = case
        try:
            compiled = patterns.prepare(pattern, 0, text)
        except (ValueError, OverflowError, RecursionError, patterns.re.error):
            return
        for tried in (text, "a" * len(text), "ab" * (len(text) // 2)):
            compiled.search(tried)

    @holds_for(st.recursive(st.one_of(scalars, st.floats()), st.lists, max_leaves=8))
    def results(value):
        try:
            result.check("result", value)
        except result.NoData:
            return
        assert not (isinstance(value, float) and math.isnan(value))
        json.dumps(value, allow_nan=False)
