from ..tools import signature
from ..tools.signature import SignatureError
from .pure_case import PureCase

# Published with the reference implementations of Standard Webhooks.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIME = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


class TestSignature(PureCase):
    def test_the_published_vector_is_met(self):
        self.assertEqual(signature.sign(SECRET, ID, TIME, BODY), SIGNATURE)
        bare = SECRET.removeprefix("whsec_")
        self.assertEqual(signature.sign(bare, ID, TIME, BODY), SIGNATURE)

    def test_every_part_of_a_message_is_signed(self):
        for parts in [
            (signature.new_secret(), ID, TIME, BODY),
            (SECRET, "msg_other", TIME, BODY),
            (SECRET, ID, TIME + 1, BODY),
            (SECRET, ID, TIME, BODY + b" "),
        ]:
            with self.subTest(parts=parts[1:]):
                self.assertNotEqual(signature.sign(*parts), SIGNATURE)

    def test_headers_carry_one_signature_per_secret(self):
        old = signature.new_secret()
        headers = signature.headers([SECRET, old], ID, TIME, BODY)
        self.assertEqual(headers["webhook-id"], ID)
        self.assertEqual(headers["webhook-timestamp"], "1614265330")
        self.assertEqual(
            headers["webhook-signature"],
            f"{SIGNATURE} {signature.sign(old, ID, TIME, BODY)}",
        )
        for secrets in ([SECRET], [old], [signature.new_secret(), old]):
            with self.subTest(secrets=len(secrets)):
                self.assertTrue(signature.verify(secrets, headers, BODY, TIME))

    def test_names_of_headers_are_read_in_any_case_and_other_versions_ignored(self):
        headers = {
            "Webhook-Id": ID,
            "WEBHOOK-TIMESTAMP": str(TIME),
            "Webhook-Signature": f"v1a,b3RoZXI= {SIGNATURE}",
        }
        for now in (TIME - 300, TIME, TIME + 300):
            with self.subTest(now=now):
                self.assertTrue(signature.verify([SECRET], headers, BODY, now))

    def test_a_message_that_cannot_be_trusted_is_refused_with_the_reason(self):
        good = signature.headers([SECRET], ID, TIME, BODY)
        for changed, secrets, body, now, reason in [
            ({}, [SECRET], BODY + b" ", TIME, "matches"),
            ({}, [signature.new_secret()], BODY, TIME, "matches"),
            ({}, [], BODY, TIME, "matches"),
            ({}, [SECRET], BODY, TIME + 301, "more than 300 s"),
            ({}, [SECRET], BODY, TIME - 301, "more than 300 s"),
            ({"webhook-id": "msg_other"}, [SECRET], BODY, TIME, "matches"),
            ({"webhook-id": "a.b"}, [SECRET], BODY, TIME, "dot"),
            ({"webhook-id": ""}, [SECRET], BODY, TIME, "required"),
            ({"webhook-timestamp": "soon"}, [SECRET], BODY, TIME, "number"),
            ({"webhook-timestamp": "9" * 5000}, [SECRET], BODY, TIME, "number"),
            ({"webhook-signature": "v1,пароль"}, [SECRET], BODY, TIME, "matches"),
            ({"webhook-signature": SIGNATURE[3:]}, [SECRET], BODY, TIME, "matches"),
        ]:
            with (
                self.subTest(changed=changed, reason=reason),
                self.assertRaisesRegex(SignatureError, reason),
            ):
                signature.verify(secrets, {**good, **changed}, body, now)

    def test_a_secret_that_is_not_base64_is_refused_without_showing_it(self):
        for secret in ["whsec_", "", "whsec_my passphrase", "пароль"]:
            with (
                self.subTest(secret=secret),
                self.assertRaises(SignatureError) as caught,
            ):
                signature.sign(secret, ID, TIME, BODY)
            self.assertNotIn("passphrase", str(caught.exception))

    def test_a_new_secret_has_32_random_bytes(self):
        secret = signature.new_secret()
        self.assertRegex(secret, r"\Awhsec_[A-Za-z0-9+/]{43}=\Z")
        self.assertNotEqual(secret, signature.new_secret())
        self.assertTrue(signature.sign(secret, ID, TIME, BODY))
