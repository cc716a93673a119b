"""Credentials of both directions: recognised without being kept, or kept encrypted.

What callers present to us is only ever compared, so it is stored hashed. What we
present to others must be read back, so it is encrypted with a key that lives outside
the database.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
import secrets
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from passlib.context import CryptContext

_logger = logging.getLogger("bj.api.credential")

TOKEN_PREFIX = "bjas_"
SHOWN_CHARACTERS = 12
MAX_HEADER_BYTES = 8 * 1024
MAX_REMEMBERED = 1000  # checks of passwords and the like, in each process
KEY_FILE = "bj_api_sync.key"
KEY_OPTION = "bj_api_sync_key"
KEY_VARIABLE = "BJ_API_SYNC_KEY"
ENCRYPTED_PREFIX = "fernet:"
HOW_TO_MAKE_A_KEY = (
    "Make a key with: python3 -c 'from cryptography.fernet import Fernet; "
    "print(Fernet.generate_key().decode())'"
)

# OWASP's advice (2023) for PBKDF2 with HMAC-SHA512. What is right costs this once in each
# process, see :class:`Checks`; how often a wrong one may cost it, the throttle says.
ROUNDS = 210_000
_passwords = CryptContext(["pbkdf2_sha512"], pbkdf2_sha512__rounds=ROUNDS)
# The hash of nothing that anybody knows.
_DUMMY_HASH = f"$pbkdf2-sha512${ROUNDS}${'A' * 22}${'A' * 86}"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class SecretError(Exception):
    """A stored secret cannot be used; the message says what to do."""


class MissingKey(SecretError):
    """There is no usable encryption key."""


class WrongKey(SecretError):
    """The secret was not encrypted with any of the keys at hand."""


# Tokens -------------------------------------------------------------------------------


def new_token():
    """Return a bearer token: ``bjas_`` and 43 characters for 32 random bytes."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def strip_bearer(text):
    """Return a token without the word ``Bearer`` that was copied along with it."""
    return re.sub(r"(?i)\A\s*bearer\s+", "", text).strip()


def prefix(token):
    """Return the part of a token that may be shown, enough to tell two tokens apart.

    Of a short one that is a quarter at most, so that nobody can guess the rest.
    """
    return token[: min(SHOWN_CHARACTERS, len(token) // 4)]


def hash_token(text):
    """Return the SHA-256 of a token in hex; a leading ``Bearer`` does not count.

    A plain hash is enough for 32 random bytes: there is no dictionary to try.
    """
    return _sha256(strip_bearer(text))


def same(a, b):
    """Tell whether two texts are equal, in a time that depends on neither."""
    return hmac.compare_digest(_sha256(a), _sha256(b))


def fingerprint(text):
    """Return 16 hex digits of SHA-256, to compare a text without keeping it."""
    return _sha256(text)[:16]


def _sha256(text):
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# Passwords, and whatever else somebody has made up ------------------------------------


def hash_password(text):
    """Return the salted hash to store for a password of at most 4096 characters."""
    return _passwords.hash(text)


def verify_password(text, hashed):
    """Tell whether ``text`` is the password behind ``hashed``.

    What is no hash at all is answered like a wrong password, and in like time.
    """
    try:
        right = bool(hashed) and _passwords.verify(text, hashed)
        is_slow = bool(hashed) and not needs_update(hashed)
    except (TypeError, ValueError):  # no hash, unknown scheme, oversized password
        right = is_slow = False
    if not right and not is_slow:
        dummy_verify()
    return right


def dummy_verify():
    """Take as long as :func:`verify_password`, for a login that does not exist."""
    _passwords.verify("", _DUMMY_HASH)


def needs_update(hashed):
    """Tell whether a hash was made at another cost than today's."""
    return _passwords.needs_update(hashed)


def hash_typed(text):
    """Return the salted hash to store for a token or header value that somebody typed.

    Nobody knows how well it can be guessed, so it is kept like a password.
    """
    return renew_typed(hash_token(text))


def renew_typed(digest):
    """Return what :func:`hash_typed` would, for a text of which the SHA-256 is stored.

    That is how it was kept before: nobody has to type it again.
    """
    return _passwords.hash(digest)


def is_digest(stored):
    """Tell whether a stored hash is a bare SHA-256, which is fast to try."""
    return bool(_SHA256.fullmatch(stored or ""))


_process_key = secrets.token_bytes(32)
# (hash, HMAC of the text): neither gives the text away, and a changed one has another hash.
_right = set()
_wrong = set()


class Checks:
    """The slow checks of one call, and what this process remembers of them.

    A caller sends its password with each request: each process pays for it once. So that
    nobody learns from the time of a refusal which part of several was right, a call that
    is refused pays for what was remembered as well: see :meth:`make_up`.
    """

    def __init__(self):
        self._spared = 0
        self._failed = []

    def is_password(self, text, hashed):
        """As :func:`verify_password`, at once for what is known."""
        text = text.encode("utf-8", "surrogatepass")
        pair = (hashed, hmac.digest(_process_key, text, "sha256"))
        if pair in _right or pair in _wrong:
            self._spared += 1
            return pair in _right
        if verify_password(text, hashed):
            _remember(_right, pair)
            return True
        self._failed.append(pair)
        return False

    def is_typed(self, text, stored):
        """Tell whether ``text`` is what :func:`hash_typed` or :func:`hash_token` kept.

        Nothing is never right, whatever is stored.
        """
        digest = hash_token(text)
        if is_digest(stored):
            right = hmac.compare_digest(digest, stored)
        else:
            right = self.is_password(digest, stored)
        return right and bool(strip_bearer(text))

    def make_up(self):
        """Take the time that was spared, for a call that is refused."""
        for _time in range(self._spared):
            dummy_verify()

    def remember_failed(self):
        """Remember what was wrong here of a call that was right elsewhere.

        Not of others: guesses would push everything else out.
        """
        for pair in self._failed:
            _remember(_wrong, pair)


def _remember(pairs, pair):
    if len(pairs) >= MAX_REMEMBERED:
        pairs.clear()
    pairs.add(pair)


# Authorization header -----------------------------------------------------------------


@dataclass(frozen=True)
class Basic:
    login: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Bearer:
    token: str = field(repr=False)


def parse_authorization(header):
    """Return the :class:`Basic` or :class:`Bearer` of an ``Authorization`` header.

    Strict, because a header read leniently here and strictly by a proxy in front is two
    different logins. RFC 7617: Base64 of UTF-8 ``login:password`` without control
    characters; RFC 6750: one word.

    :return: ``None`` for no header, another scheme, anything malformed or over 8 KiB
    """
    if not header or len(header) > MAX_HEADER_BYTES:
        return None
    match = re.fullmatch(r"([A-Za-z]+) +([\x21-\x7e]+)", header)
    if not match:
        return None
    scheme, value = match.group(1).lower(), match.group(2)
    if scheme == "bearer":
        return Bearer(value)
    if scheme == "basic":
        return _parse_basic(value)
    return None


def _parse_basic(value):
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    login, colon, password = text.partition(":")
    if not colon or re.search(r"[\x00-\x1f\x7f]", text):
        return None
    return Basic(login, password)


# Secrets at rest ----------------------------------------------------------------------


class Cipher:
    """Encrypts with the first key and decrypts with any: that is how keys are rotated.

    Without keys it can be made, but not used, so that only what needs a secret stops.

    :param list keys: Fernet keys, the current one first
    """

    def __init__(self, keys):
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None

    @staticmethod
    def is_encrypted(text):
        return text.startswith(ENCRYPTED_PREFIX)

    def encrypt(self, text):
        """Return ``fernet:<token>``, another one on every call."""
        return ENCRYPTED_PREFIX + self._ready().encrypt(text.encode()).decode()

    def decrypt(self, text):
        """Return the clear text of what :meth:`encrypt` made.

        :raise MissingKey: no key is configured
        :raise WrongKey: made with another key, damaged, or never encrypted
        """
        return self._open(MultiFernet.decrypt, text).decode()

    def rotate(self, text):
        """Return the same secret under the current key; raises as :meth:`decrypt`."""
        return ENCRYPTED_PREFIX + self._open(MultiFernet.rotate, text).decode()

    def _open(self, operation, text):
        fernet = self._ready()
        if not self.is_encrypted(text):
            raise WrongKey("The stored secret is not encrypted. Enter it again.")
        try:
            return operation(fernet, text[len(ENCRYPTED_PREFIX) :].encode())
        except InvalidToken:
            raise WrongKey(
                "The stored secret was encrypted with another key. Add that key to "
                f"{KEY_OPTION} in odoo.conf (after the current one, with a comma), or "
                "enter the secret again."
            ) from None

    def _ready(self):
        if self._fernet is None:
            raise MissingKey(
                "There is no key to encrypt or decrypt secrets with. Set "
                f"{KEY_OPTION} in odoo.conf or {KEY_VARIABLE} in the environment. "
                + HOW_TO_MAKE_A_KEY
            )
        return self._fernet


def name_secret(text, key):
    """Return 12 hexadecimal digits that name a secret and cannot be tried out without
    the key of this installation, as a plain hash of a weak password could."""
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()[:12]


def load_keys(config_value, environ, data_dir):
    """Return the Fernet keys of this installation, the current one first.

    The first source that says anything counts: the option ``bj_api_sync_key`` of
    odoo.conf, the variable ``BJ_API_SYNC_KEY``, the file ``bj_api_sync.key`` in the
    data directory. The file is made when nothing else exists. One that cannot be read
    or understood is never replaced: it may be all that opens the stored secrets.

    :param str config_value: keys separated by commas, or nothing
    :param dict environ: environment variables
    :param str data_dir: Odoo's data directory
    :raise MissingKey: the source found is no good; says which and what to do
    """
    if config_value and config_value.strip():
        return _parse_keys(config_value, f"{KEY_OPTION} in odoo.conf")
    if environ.get(KEY_VARIABLE, "").strip():
        return _parse_keys(environ[KEY_VARIABLE], f"{KEY_VARIABLE} in the environment")
    path = os.path.join(data_dir, KEY_FILE)
    try:
        text = _read_key_file(path)
    except OSError as error:
        raise MissingKey(
            f"The key file {path} cannot be used: {error.strerror}. Let the user that "
            f"runs Odoo read and write it, or set {KEY_OPTION} in odoo.conf."
        ) from error
    return _parse_keys(text, f"the key file {path}")


def _parse_keys(text, source):
    keys = [key for key in re.split(r"[,\s]+", text) if key]
    for number, key in enumerate(keys, 1):
        try:
            Fernet(key)
        except ValueError:
            # The value stays out of the message, and the decoder's words with it.
            raise MissingKey(
                f"Key {number} of {len(keys)} in {source} is not a Fernet key (32 "
                f"random bytes as 44 URL-safe Base64 characters). {HOW_TO_MAKE_A_KEY}"
            ) from None
    if not keys:
        raise MissingKey(f"There is no key in {source}. {HOW_TO_MAKE_A_KEY}")
    return keys


def _read_key_file(path):
    """Return the text of the key file, which is made if there is none."""
    if not os.path.lexists(path):
        _create_key_file(path)
    with open(path, encoding="ascii", errors="replace") as file:
        if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
            _logger.warning("Others can read the key file %s, do: chmod 600", path)
        return file.read(MAX_HEADER_BYTES)


def _create_key_file(path):
    """Write a new key to ``path``, complete or not at all, unless another worker did.

    The key is written beside its place first. A hard link then puts it there only if
    nothing is, so no worker reads half a key and no two workers use different ones.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    draft = f"{path}.{os.getpid()}.{secrets.token_hex(8)}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
        _logger.info(
            "Made the key file %s: keep a copy of it, apart from the dumps", path
        )
    except FileExistsError:
        _logger.debug("Another worker made the key file %s", path)
    finally:
        os.unlink(draft)
