"""How long a text may be that a script's regular expression is tried on.

A search in C cannot be interrupted, so it must be known before how many steps it may take.

``_parser`` reads the pattern. What takes exponential time on 30 characters already is
refused: a repetition inside a repetition, as in ``(a+)+``, and a repeated choice of which
more than one may fit, as in ``(a|aa)+`` and ``(aa?)+``. What is left takes a power of the
length, which :func:`_cost` finds:

    [a-z]+           1   whatever begins to match is taken, nothing is tried twice
    [a-z]+@          2   each place may be the first, and all letters after it are read
    .*a.*b           3   ``.*`` may end at each ``a``, and for each of them the rest is read

and the text may have as many characters as keep that power below :data:`MAX_STEPS`.
"""

import functools
import re
import sys
from dataclasses import dataclass
from itertools import combinations

if sys.version_info >= (3, 11):
    from re import _parser
else:
    import sre_parse as _parser

MAX_PATTERN = 500  # characters
MAX_TEXT = 1_000_000  # characters, for the simplest pattern
MAX_STEPS = 10_000_000  # less than a second
MIN_TEXT = 32  # a pattern that may not be tried on so much is of no use
LAST_LETTER = 0x7FF  # stands for all after it when patterns are judged
MANY = 10  # repetitions, above which each choice must be definite
FLAGS = re.IGNORECASE | re.MULTILINE | re.DOTALL | re.ASCII | re.VERBOSE | re.UNICODE

_REPEATS = {_parser.MAX_REPEAT, _parser.MIN_REPEAT}
_POSSESSIVE = getattr(_parser, "POSSESSIVE_REPEAT", None)
_ONE_LETTER = {_parser.LITERAL, _parser.NOT_LITERAL, _parser.IN, _parser.ANY}
_NO_LETTER = {_parser.AT, _parser.ASSERT, _parser.ASSERT_NOT}


@dataclass(frozen=True)
class Cost:
    """Steps from one place of the text on: at most ``factor * length ** power``."""

    factor: int = 1
    power: int = 0

    def worse(self, other):
        return max(self, other, key=lambda cost: (cost.power, cost.factor))

    def plus(self, other):
        return Cost(self.factor + other.factor, max(self.power, other.power))


def prepare(pattern, flags, text, anchored=False):
    """Return the compiled pattern, if it can be tried on this text.

    :param bool anchored: only at the beginning of the text
    :raise ValueError: the pattern is refused, or the text is too long for it
    """
    compiled, cost, starts_once = _compile(pattern, flags)
    longest = _max_length(cost.factor, cost.power + (not (anchored or starts_once)))
    if len(text) > longest:
        raise ValueError(
            f"re: the text has {len(text)} characters, and {pattern!r} is tried on "
            f"{longest} at most: it may have to read them again for each place where it "
            "can begin or where a repetition can end. Split the text first, or let each "
            "repetition end where another character begins, as in [^@]*@"
        )
    return compiled


def _max_length(factor, power):
    steps = MAX_STEPS / factor
    return min(int(steps ** (1 / power)) if power else MAX_TEXT, MAX_TEXT)


@functools.lru_cache(maxsize=256)
def _compile(pattern, flags):
    if not isinstance(pattern, str | bytes):
        raise TypeError("re: the pattern must be a string")
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"re: the pattern is longer than {MAX_PATTERN} characters")
    if flags & ~FLAGS:
        raise ValueError("re: the flags are I, M, S, A and X")
    parsed = _parser.parse(pattern, flags)
    if _repeats_in_repeat(parsed):
        raise ValueError(
            f"re: {pattern!r} repeats a repetition, as (a+)+ does, which can take for "
            "ever; split the text first, or repeat only once"
        )
    if _repeats_a_choice(parsed):
        raise ValueError(
            f"re: {pattern!r} repeats a choice of which more than one may fit, as "
            "(a|aa)+ and (aa?)+ do, which can take for ever; split the text first, or "
            "let each alternative begin with another character"
        )
    cost = _cost(parsed, [], Cost())
    if _max_length(cost.factor, cost.power + 1) < MIN_TEXT:
        raise ValueError(
            f"re: {pattern!r} leaves too many choices open, one after the other, as "
            "a*a*a*b and a?a?a?aaa do; let each repetition and option end where another "
            "character begins"
        )
    compiled = re.compile(pattern, flags)
    return compiled, cost, _starts_once(parsed, compiled.flags)


def _starts_once(parsed, flags):
    """Tell whether the pattern begins with what is true at one place only."""
    first = next(iter(parsed), None)
    return first == (_parser.AT, _parser.AT_BEGINNING_STRING) or (
        first == (_parser.AT, _parser.AT_BEGINNING) and not flags & re.MULTILINE
    )


def _cost(items, following, cost):
    """Return the cost of a sequence, of which ``cost`` is that of what follows it.

    :param list following: the items of the pattern that come after it
    """
    rest = list(following)
    for item in reversed(list(items)):
        cost = _cost_of_item(item, rest, cost)
        rest = [item, *rest]
    return cost


def _cost_of_item(item, rest, cost):
    operator, argument = item
    if operator in _REPEATS or operator is _POSSESSIVE:
        return _cost_of_repeat(argument, rest, cost)
    if operator is _parser.BRANCH:
        options = [_cost(option, rest, cost) for option in argument[1]]
        joined = options[0]
        apart = all(
            _are_apart([*one, *rest], [*other, *rest])
            for one, other in combinations(argument[1], 2)
        )
        for option in options[1:]:
            joined = joined.worse(option) if apart else joined.plus(option)
        return joined
    if operator in (_parser.GROUPREF, _parser.GROUPREF_EXISTS):
        cost = cost.worse(Cost(1, 1))  # what it is compared with may be long
    if operator in (_parser.ASSERT, _parser.ASSERT_NOT):
        return _cost(argument[1], [], Cost()).worse(cost)
    for part in _parts(operator, argument):
        cost = _cost(part, rest, cost)
    return cost


def _cost_of_repeat(argument, rest, cost):
    least, most, repeated = argument
    is_definite = _ends_definitely(repeated, rest)
    if most > MANY:
        # Of its contents each step is decided by the next character, else it is refused.
        if is_definite:
            return cost.worse(Cost(cost.factor, 1)) if rest else cost
        return Cost(cost.factor, cost.power + 1)
    if least != most and not is_definite:
        cost = Cost(cost.factor * (most - least + 2), cost.power)
    for _time in range(most):
        cost = _cost(repeated, [*repeated, *rest], cost)
    return cost


def _ends_definitely(repeated, rest):
    """Tell whether the next character alone decides if the repetition goes on.

    At the end of the pattern it does, too: nothing comes that could fail.
    """
    after = _starts(rest)
    return after is not None and _letters_apart(_starts(repeated), after)


def _starts(items):
    """Return the items for one letter that a sequence may begin with, ``None`` if unknown.

    None at all: the pattern has come to its end.
    """
    found = []
    for position, (operator, argument) in enumerate(items := list(items)):
        rest = items[position + 1 :]
        if operator in _ONE_LETTER:
            return [*found, (operator, argument)]
        if operator in _NO_LETTER:
            continue
        if operator in _REPEATS or operator is _POSSESSIVE:
            least, _most, repeated = argument
            inner = _starts(repeated)
            if not inner:
                return None
            found += inner
            if least:
                return found
            continue
        parts = _parts(operator, argument)
        if operator not in (_parser.BRANCH, _parser.SUBPATTERN) or not parts:
            return None
        starts = [_starts([*part, *rest]) for part in parts]
        return (
            None if None in starts else [*found, *(s for some in starts for s in some)]
        )
    return found


def _letters_apart(some, others):
    if some is None or others is None:
        return False
    return not any(
        any(_may_match(start, letter) for start in some)
        and any(_may_match(start, letter) for start in others)
        for letter in range(LAST_LETTER + 1)
    )


def _repeats_in_repeat(parsed, inside=False):
    """Tell whether an unbounded repetition stands inside another one."""
    if isinstance(parsed, _parser.SubPattern):
        return any(_repeats_in_repeat(item, inside) for item in parsed)
    if isinstance(parsed, list):
        return any(_repeats_in_repeat(item, inside) for item in parsed)
    if not isinstance(parsed, tuple):
        return False
    operator, *arguments = parsed
    if operator in (_parser.MAX_REPEAT, _parser.MIN_REPEAT):
        (_least, most, repeated) = arguments[0]
        unbounded = most == _parser.MAXREPEAT or most > 100
        if unbounded and inside:
            return True
        return _repeats_in_repeat(repeated, inside or unbounded)
    return any(_repeats_in_repeat(argument, inside) for argument in parsed)


def _repeats_a_choice(parsed):
    """Tell whether what is repeated often can be matched in more than one way."""
    for operator, argument in parsed:
        if operator in (_parser.MAX_REPEAT, _parser.MIN_REPEAT):
            _least, most, repeated = argument
            if most > MANY and not _is_definite(repeated, repeated):
                return True
        if any(map(_repeats_a_choice, _parts(operator, argument))):
            return True
    return False


def _is_definite(parsed, following):
    """Tell whether each step is decided by the next character alone.

    :param following: what may come after ``parsed``
    """
    items = list(parsed)
    for position, (operator, argument) in enumerate(items):
        rest = items[position + 1 :] or following
        if operator in (_parser.MAX_REPEAT, _parser.MIN_REPEAT):
            least, most, repeated = argument
            if least != most and not _are_apart(repeated, rest):
                return False
            rest = [*repeated, *rest]
        if operator is _parser.BRANCH and not all(
            _are_apart(one, other) for one, other in combinations(argument[1], 2)
        ):
            return False
        parts = _parts(operator, argument)
        if not all(_is_definite(part, rest) for part in parts):
            return False
    return True


def _parts(operator, argument):
    """Return the sequences inside one item of a parsed pattern."""
    if operator is _parser.BRANCH:
        return argument[1]
    found = argument if isinstance(argument, tuple) else (argument,)
    return [part for part in found if isinstance(part, _parser.SubPattern)]


def _are_apart(one, other):
    """Tell whether no character can begin both sequences; in doubt they are not apart."""
    one, other = _starts(one), _starts(other)
    return bool(one and other) and _letters_apart(one, other)


def _may_match(node, letter):
    operator, argument = node
    if operator is _parser.LITERAL:
        argument = [node]
    elif operator is _parser.NOT_LITERAL:
        argument = [(_parser.NEGATE, None), (_parser.LITERAL, argument)]
    elif operator is not _parser.IN:
        return True
    cases = {letter, ord(chr(letter).lower()[0]), ord(chr(letter).upper()[0])}
    if argument[0][0] is _parser.NEGATE:
        return not any(_is_in_set(item, letter, False) for item in argument[1:])
    return any(_is_in_set(item, case, True) for item in argument for case in cases)


def _is_in_set(item, letter, in_doubt):
    operator, argument = item
    if operator is _parser.LITERAL:
        return min(argument, LAST_LETTER) == letter
    if operator is _parser.RANGE:
        first, last = argument
        return min(first, LAST_LETTER) <= letter <= last
    test = _CATEGORIES.get(argument)
    return test(chr(letter)) if test else in_doubt


_CATEGORIES = {
    _parser.CATEGORY_DIGIT: str.isdecimal,
    _parser.CATEGORY_SPACE: str.isspace,
    _parser.CATEGORY_WORD: lambda letter: letter.isalnum() or letter == "_",
}
