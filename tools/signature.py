"""Standard Webhooks 1.0.0: who sent a body, when, and that it is whole.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
What is signed is ``<id>.<timestamp>.<body>`` with the very bytes of the body.
"""

import base64
import binascii
import hashlib
import hmac
import os

SECRET_PREFIX = "whsec_"
VERSION = "v1"
TOLERANCE = 300  # seconds, both ways


class SignatureError(ValueError):
    """The message cannot be trusted; ``str()`` says why, for the log."""


def new_secret():
    """Return a signing secret: ``whsec_`` and the Base64 of 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(os.urandom(32)).decode()


def sign(secret, message_id, timestamp, body):
    """Return the signature of one message as ``v1,<base64>``.

    :param str secret: ``whsec_<base64>``; the prefix may be missing
    :param str message_id: the same for every attempt, without a dot
    :param int timestamp: Unix seconds of this attempt
    :param bytes body: the bytes that are sent
    :raise SignatureError: the secret is not Base64, or the id has a dot
    """
    if "." in message_id:
        raise SignatureError("The message id must not contain a dot.")
    signed = f"{message_id}.{int(timestamp)}.".encode() + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"{VERSION},{base64.b64encode(digest).decode()}"


def headers(secrets, message_id, timestamp, body):
    """Return the three headers of a message.

    :param list secrets: the current one first, then what receivers may still use
    """
    signatures = [sign(secret, message_id, timestamp, body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(timestamp)),
        "webhook-signature": " ".join(signatures),
    }


def verify(secrets, headers, body, now, tolerance=TOLERANCE):
    """Return ``True`` if one of the secrets signed these headers and this body lately.

    :param list secrets: secrets in use, several while they are rotated
    :param dict headers: received headers, names in any case
    :param bytes body: received bytes, before any parsing
    :param float now: Unix seconds
    :param int tolerance: seconds that the clocks may differ, and a replay may be late
    :raise SignatureError: why the message is refused
    """
    received = {name.lower(): value for name, value in headers.items()}
    message_id = received.get("webhook-id")
    signatures = received.get("webhook-signature")
    timestamp = received.get("webhook-timestamp")
    if not (message_id and signatures and timestamp):
        raise SignatureError(
            "webhook-id, webhook-timestamp and webhook-signature are required."
        )
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16):
        raise SignatureError("webhook-timestamp is not a number of seconds.")
    if abs(now - int(timestamp)) > tolerance:
        raise SignatureError(
            f"webhook-timestamp differs from our clock by more than {tolerance} s."
        )
    for secret in secrets:
        expected = sign(secret, message_id, int(timestamp), body).encode()
        for signature in signatures.split(" "):
            if hmac.compare_digest(signature.encode(), expected):
                return True
    raise SignatureError("No signature in webhook-signature matches.")


def _key(secret):
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not key:
        # Neither the secret nor the decoder's complaint about it belongs in a message.
        raise SignatureError(
            "The signing secret is not whsec_ followed by Base64. Generate a new one."
        ) from None
    return key
