from unittest.mock import patch

from passlib.context import CryptContext

from ..tools import credential

ROUNDS = 2_000


def quick_hashes(case):
    """Let what is hashed until the end of a test cost little, as does checking it."""
    cheap = f"${ROUNDS}$"
    context = CryptContext(["pbkdf2_sha512"], pbkdf2_sha512__rounds=ROUNDS)
    dummy = credential._DUMMY_HASH.replace(f"${credential.ROUNDS}$", cheap)
    for name, value in (("_passwords", context), ("_DUMMY_HASH", dummy)):
        patcher = patch.object(credential, name, value)
        patcher.start()
        case.addCleanup(patcher.stop)
