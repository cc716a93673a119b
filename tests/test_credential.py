import base64
import os
import stat
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

from cryptography.fernet import Fernet
from passlib.context import CryptContext

from ..tools import credential
from ..tools.credential import Basic, Bearer, Checks, Cipher, MissingKey, WrongKey
from .pure_case import PureCase
from .quick_hashes import ROUNDS, quick_hashes

# Of "secret", at less than the cost of today.
CHEAP = CryptContext(["pbkdf2_sha512"], pbkdf2_sha512__rounds=60).hash("secret")
KEY, OLD_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def basic(value, encoding="utf-8"):
    return "Basic " + base64.b64encode(value.encode(encoding)).decode()


class TestToken(PureCase):
    def test_a_token_is_long_recognisable_and_never_the_same(self):
        token = credential.new_token()
        self.assertRegex(token, r"\Abjas_[A-Za-z0-9_-]{43}\Z")
        self.assertNotEqual(token, credential.new_token())
        self.assertEqual(credential.prefix(token), token[:12])

    def test_a_typed_word_bearer_does_not_change_the_hash(self):
        expected = credential.hash_token("s3cret")
        self.assertRegex(expected, r"\A[0-9a-f]{64}\Z")
        for text in ["Bearer s3cret", "bearer  s3cret", "BEARER s3cret ", " s3cret\n"]:
            with self.subTest(text=text):
                self.assertEqual(credential.hash_token(text), expected)
        for text in ["s3cret2", "Bearers3cret", "Basic s3cret"]:
            with self.subTest(text=text):
                self.assertNotEqual(credential.hash_token(text), expected)

    def test_only_equal_texts_are_the_same(self):
        for a, b, expected in [
            ("", "", True),
            ("пароль", "пароль", True),
            ("a", "", False),
            ("a", "A", False),
            ("a\udcff", "a", False),
        ]:
            with self.subTest(a=a, b=b):
                self.assertIs(credential.same(a, b), expected)

    def test_a_fingerprint_compares_and_does_not_tell(self):
        self.assertEqual(credential.fingerprint("a"), credential.fingerprint("a"))
        self.assertNotEqual(credential.fingerprint("a"), credential.fingerprint("b"))
        self.assertEqual(len(credential.fingerprint("a")), 16)


class TestPassword(PureCase):
    def setUp(self):
        super().setUp()
        quick_hashes(self)

    def test_a_password_is_verified_against_a_salted_hash(self):
        hashed = credential.hash_password("пароль:1")
        self.assertNotEqual(hashed, credential.hash_password("пароль:1"))
        self.assertNotIn("пароль", hashed)
        self.assertTrue(credential.verify_password("пароль:1", hashed))
        self.assertFalse(credential.verify_password("пароль:2", hashed))

    def test_what_is_no_hash_or_no_password_is_refused_without_an_error(self):
        hashed = credential.hash_password("secret")
        for text, stored in [
            ("secret", "secret"),
            ("secret", ""),
            ("secret", None),
            ("x" * 5000, hashed),
        ]:
            with self.subTest(text=text[:10], stored=stored):
                self.assertFalse(credential.verify_password(text, stored))

    def test_the_cost_is_what_owasp_advises(self):
        self.doCleanups()
        self.assertIn("$pbkdf2-sha512$210000$", credential._DUMMY_HASH)
        self.assertIn("$pbkdf2-sha512$210000$", credential.hash_password("secret"))

    def test_a_hash_of_another_cost_needs_an_update(self):
        hashed = credential.hash_password("secret")
        self.assertFalse(credential.needs_update(hashed))
        cheap = hashed.replace(f"${ROUNDS}$", "$60$")
        self.assertNotEqual(cheap, hashed)
        self.assertTrue(credential.needs_update(cheap))

    def test_an_unknown_login_takes_as_long_as_a_wrong_password(self):
        hashed = credential.hash_password("secret")

        def fastest(function, *args):
            times = []
            for _round in range(7):
                start = time.thread_time()
                function(*args)
                times.append(time.thread_time() - start)
            return min(times)

        verify = fastest(credential.verify_password, "wrong", hashed)
        times = [
            verify,
            fastest(credential.dummy_verify),
            fastest(credential.verify_password, "wrong", ""),
            fastest(credential.verify_password, "x" * 5000, hashed),
            fastest(credential.verify_password, "wrong", CHEAP),
        ]
        self.assertLess(max(times) / min(times), 3)


class TestTyped(PureCase):
    def setUp(self):
        super().setUp()
        quick_hashes(self)

    def test_what_is_typed_is_kept_salted_and_slow(self):
        stored = credential.hash_typed("Bearer s3cret")
        self.assertNotEqual(stored, credential.hash_typed("s3cret"))
        self.assertTrue(stored.startswith("$pbkdf2-sha512$"))
        self.assertFalse(credential.is_digest(stored))
        for text, expected in [
            ("s3cret", True),
            ("bearer  s3cret ", True),
            ("s3cre", False),
            ("", False),
            (stored, False),
            ("\udcff", False),
            ("x" * 9000, False),
        ]:
            with self.subTest(text=text[:10]):
                self.assertIs(Checks().is_typed(text, stored), expected)

    def test_any_text_can_be_kept(self):
        for text in ("пароль", "x" * 9000, "a\0b", "a\udcffb"):
            with self.subTest(text=text[:10]):
                self.assertTrue(Checks().is_typed(text, credential.hash_typed(text)))

    def test_the_form_of_before_is_understood_and_renewed_without_the_text(self):
        digest = credential.hash_token("s3cret")
        self.assertTrue(credential.is_digest(digest))
        renewed = credential.renew_typed(digest)
        for stored in (digest, renewed):
            self.assertTrue(Checks().is_typed("Bearer s3cret", stored))
            self.assertFalse(Checks().is_typed("s3cret2", stored))
        self.assertFalse(Checks().is_typed(digest, renewed))  # what a dump holds
        self.assertFalse(Checks().is_typed(digest, digest))

    def test_nothing_is_never_right(self):
        for stored in (
            credential.hash_token(""),
            credential.hash_typed(""),
            "",
            None,
            "no hash",
        ):
            for text in ("", " ", "Bearer "):
                with self.subTest(stored=stored, text=text):
                    self.assertFalse(Checks().is_typed(text, stored))


class TestChecks(PureCase):
    def setUp(self):
        super().setUp()
        for name in ("_right", "_wrong"):
            patcher = patch.object(credential, name, set())
            patcher.start()
            self.addCleanup(patcher.stop)
        self.slow = 0
        patcher = patch.object(credential, "_passwords", self)
        patcher.start()
        self.addCleanup(patcher.stop)

    # In place of passlib's context, which takes its time.
    def verify(self, text, hashed):
        self.slow += 1
        text = text if isinstance(text, bytes) else text.encode()
        return hashed == f"hash of {text.decode()}"

    def needs_update(self, hashed):
        return False

    def _count(self, check, *args):
        before = self.slow
        result = check(*args)
        return result, self.slow - before

    def test_what_is_right_is_slow_once_and_what_is_wrong_each_time(self):
        for _call in range(3):
            self.assertEqual(
                self._count(Checks().is_password, "wrong", "hash of right"), (False, 1)
            )
        self.assertEqual(
            self._count(Checks().is_password, "right", "hash of right"), (True, 1)
        )
        for _call in range(3):
            self.assertEqual(
                self._count(Checks().is_password, "right", "hash of right"), (True, 0)
            )
        # Another hash, as after a change, and the text of another one.
        self.assertEqual(
            self._count(Checks().is_password, "right", "hash of new"), (False, 1)
        )
        self.assertEqual(
            self._count(Checks().is_password, "new", "hash of right"), (False, 1)
        )

    def test_a_refusal_takes_as_long_whichever_part_was_right(self):
        Checks().is_password("token", "hash of token")
        Checks().is_password("value", "hash of value")
        for token in ("token", "guess"):
            for value in ("value", "guess"):
                checks = Checks()
                before = self.slow
                checks.is_password(token, "hash of token")
                checks.is_password(value, "hash of value")
                checks.make_up()
                with self.subTest(token=token, value=value):
                    self.assertEqual(self.slow - before, 2)

    def test_what_was_wrong_is_remembered_only_for_a_caller_who_is_known(self):
        checks = Checks()
        checks.is_password("mine", "hash of other")
        self.assertEqual(
            self._count(Checks().is_password, "mine", "hash of other"), (False, 1)
        )
        checks.remember_failed()
        self.assertEqual(
            self._count(Checks().is_password, "mine", "hash of other"), (False, 0)
        )

    def test_neither_texts_nor_any_number_of_checks_are_remembered(self):
        for number in range(credential.MAX_REMEMBERED + 10):
            Checks().is_password(f"hidden-{number}", f"hash of hidden-{number}")
        self.assertLessEqual(len(credential._right), credential.MAX_REMEMBERED)
        remembered = {text for _hash, text in credential._right}
        self.assertFalse([text for text in remembered if b"hidden" in text])
        self.assertNotIn("hidden", repr(vars(Checks())))


class TestParseAuthorization(PureCase):
    def test_well_formed_headers_are_understood(self):
        for header, expected in [
            (basic("ann:pa:ss"), Basic("ann", "pa:ss")),
            (basic("анна:пароль"), Basic("анна", "пароль")),
            (basic(":only"), Basic("", "only")),
            (basic("ann:").replace("Basic", "BASIC"), Basic("ann", "")),
            ("Bearer bjas_abc-_=", Bearer("bjas_abc-_=")),
            ("bearer  typed:by!hand", Bearer("typed:by!hand")),
        ]:
            with self.subTest(header=header):
                self.assertEqual(credential.parse_authorization(header), expected)

    def test_everything_else_is_no_credential(self):
        for header in [
            None,
            "",
            "Basic",
            "Basic ",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a\n",
            "Bearer\ta",
            " Bearer a",
            "Bearer a ",
            "Bearer пароль",
            "Digest abc",
            "Basic not-base64!",
            basic("ann:pass").rstrip("=") + "=====",
            "Basic YW5uOnBhc3M",  # padding lost
            basic("no colon"),
            basic("анна:пароль", "cp1251"),
            basic("ann:pa\nss"),
            basic("ann:pa\0ss"),
            "Bearer " + "x" * 8 * 1024,
        ]:
            with self.subTest(header=header and header[:40]):
                self.assertIsNone(credential.parse_authorization(header))

    def test_a_credential_that_is_printed_does_not_show_its_secret(self):
        self.assertNotIn("hidden", repr(Basic("ann", "hidden")))
        self.assertNotIn("hidden", repr(Bearer("hidden")))


class TestCipher(PureCase):
    def test_what_is_encrypted_comes_back_and_is_recognisable(self):
        cipher = Cipher([KEY])
        for text in ["", "secret", "пароль \N{KEY}"]:
            with self.subTest(text=text):
                stored = cipher.encrypt(text)
                self.assertTrue(stored.startswith("fernet:"))
                self.assertTrue(cipher.is_encrypted(stored))
                self.assertNotEqual(stored, cipher.encrypt(text))
                self.assertEqual(cipher.decrypt(stored), text)
        self.assertFalse(cipher.is_encrypted("secret"))

    def test_keys_rotate_without_losing_a_secret(self):
        stored = Cipher([OLD_KEY]).encrypt("secret")
        both = Cipher([KEY, OLD_KEY])
        self.assertEqual(both.decrypt(stored), "secret")
        self.assertEqual(Cipher([KEY]).decrypt(both.rotate(stored)), "secret")
        self.assertEqual(Cipher([KEY]).decrypt(both.encrypt("new")), "new")

    def test_no_key_the_wrong_key_and_clear_text_each_say_so(self):
        stored = Cipher([OLD_KEY]).encrypt("secret")
        for error, keys, text, words in [
            (MissingKey, [], stored, "bj_api_sync_key"),
            (WrongKey, [KEY], stored, "another key"),
            (WrongKey, [KEY], stored[:-4], "another key"),
            (WrongKey, [KEY], "fernet:пароль", "another key"),
            (WrongKey, [KEY], "secret", "not encrypted"),
        ]:
            for operation in ("decrypt", "rotate"):
                with (
                    self.subTest(words=words, operation=operation),
                    self.assertRaisesRegex(error, words) as caught,
                ):
                    getattr(Cipher(keys), operation)(text)
                self.assertNotIn("secret:", str(caught.exception))
        with self.assertRaises(MissingKey):
            Cipher([]).encrypt("secret")


class TestLoadKeys(PureCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.data_dir = directory.name
        self.path = os.path.join(self.data_dir, "bj_api_sync.key")

    def _load(self, config=None, environ=None):
        return credential.load_keys(config, environ or {}, self.data_dir)

    def test_configuration_comes_before_environment_before_file(self):
        environ = {"BJ_API_SYNC_KEY": OLD_KEY}
        self.assertEqual(self._load(f"{KEY}, {OLD_KEY}", environ), [KEY, OLD_KEY])
        self.assertEqual(self._load(None, environ), [OLD_KEY])
        self.assertEqual(self._load(" ", environ), [OLD_KEY])
        self.assertFalse(os.path.exists(self.path))
        self.assertNotIn(self._load("", {"BJ_API_SYNC_KEY": " "})[0], (KEY, OLD_KEY))
        self.assertTrue(os.path.exists(self.path))

    def test_the_file_is_made_once_and_only_for_its_owner(self):
        first = self._load()
        self.assertEqual(self._load(), first)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(os.listdir(self.data_dir), ["bj_api_sync.key"])

    def test_workers_that_start_together_agree_on_the_key(self):
        with ThreadPoolExecutor(16) as workers:
            keys = list(workers.map(lambda _number: self._load()[0], range(64)))
        self.assertEqual(len(set(keys)), 1)
        self.assertEqual(os.listdir(self.data_dir), ["bj_api_sync.key"])

    def test_a_bad_source_is_refused_and_never_replaced(self):
        for config, environ, content, words in [
            ("my passphrase", {}, None, "Key 1 of 2 in bj_api_sync_key in odoo.conf"),
            (f"{KEY},short", {}, None, "Key 2 of 2"),
            (",", {}, None, "no key in bj_api_sync_key"),
            (None, {"BJ_API_SYNC_KEY": "passphrase"}, None, "BJ_API_SYNC_KEY in the"),
            (None, {}, "", "no key in the key file"),
            (None, {}, "passphrase", "the key file"),
            (None, {}, "пароль", "the key file"),
        ]:
            with self.subTest(config=config, environ=environ, content=content):
                if content is not None:
                    with open(self.path, "w", opener=_private) as file:
                        file.write(content)
                with self.assertRaisesRegex(MissingKey, words) as caught:
                    self._load(config, environ)
                self.assertNotIn("passphrase", str(caught.exception))
                self.assertIn("Fernet.generate_key", str(caught.exception))
                if content is not None:
                    with open(self.path) as file:
                        self.assertEqual(file.read(), content)

    def test_a_file_that_cannot_be_read_stays_and_is_named(self):
        os.mkdir(self.path)  # root reads any file, but nobody reads a directory
        with self.assertRaisesRegex(MissingKey, "cannot be used: Is a directory"):
            self._load()
        self.assertTrue(os.path.isdir(self.path))
        os.rmdir(self.path)
        os.symlink("nowhere", self.path)
        with self.assertRaisesRegex(MissingKey, "cannot be used: No such file"):
            self._load()
        self.assertTrue(os.path.islink(self.path))

    def test_a_file_that_others_can_read_is_used_with_a_warning(self):
        expected = self._load()
        os.chmod(self.path, 0o644)
        with self.assertLogs("bj.api.credential", "WARNING") as logs:
            self.assertEqual(self._load(), expected)
        self.assertIn("chmod 600", logs.output[0])
        self.assertNotIn(expected[0], str(logs.output))


def _private(path, flags):
    return os.open(path, flags, 0o600)
