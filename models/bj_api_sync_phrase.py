from ..tools.convert import Phrase


def translate(env, words):
    """Return words of a message of ``tools/convert.py`` in the user's language.

    :param str words: a :class:`Phrase`, or a value of somebody's that stays as it is
    """
    if not isinstance(words, Phrase):
        return words
    return env._(words.template, **words.params)
