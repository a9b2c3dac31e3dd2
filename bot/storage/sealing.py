"""Files that only the key of the database opens.

A file is encrypted by AES-256-GCM. Its name is its sha256, encrypted by AES-SIV, because the hash of a known picture
would tell that it is here. AES-SIV gives the same name each time, and a name of another key is recognised. The size of
a file is not hidden.
"""

from __future__ import annotations

import hashlib
import os
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEALED_NAME = re.compile(r"[0-9a-f]{96}")
"""The names of encrypted files: 16 bytes by which AES-SIV recognises them, and the 32 of the sha256."""

_MAGIC = b"ATL1"
_NONCE_BYTES = 12
_RANDOM_KEY = re.compile(r"x'([0-9a-fA-F]{64,})'")
"""The form of a key that is random already; any other may be a word, and guessing that must take long."""
_SCRYPT_ROUNDS = 2**16
"""64 MiB and about 0.2 s for each guess, https://www.rfc-editor.org/rfc/rfc7914; SQLCipher's own 256,000 rounds take as
long."""


class Seal:
    """Encrypts files and their names with keys that are derived from the database's."""

    def __init__(self, key: str) -> None:
        """A key that is not random takes a fraction of a second."""
        secret = _secret_of(key)
        self._contents = AESGCM(_derived(secret, b"atelier pictures: contents", 32))
        self._names = AESSIV(_derived(secret, b"atelier pictures: names", 64))

    def name(self, sha256: str) -> str:
        """What the file with this hash, in 64 hexadecimal digits, is called."""
        return self._names.encrypt(bytes.fromhex(sha256), None).hex()

    def sha256(self, name: str) -> str | None:
        """The hash of the file with this name; None for a name that this key did not give."""
        if not SEALED_NAME.fullmatch(name):
            return None
        try:
            return self._names.decrypt(bytes.fromhex(name), None).hex()
        except InvalidTag:
            return None

    def seal(self, sha256: str, data: bytes) -> bytes:
        """Encrypt a file; it opens as the file with this hash and as no other."""
        nonce = os.urandom(_NONCE_BYTES)
        return _MAGIC + nonce + self._contents.encrypt(nonce, data, bytes.fromhex(sha256))

    def open(self, sha256: str, sealed: bytes) -> bytes | None:
        """Decrypt a file; None for bytes that were changed, or that this key did not encrypt."""
        start = len(_MAGIC) + _NONCE_BYTES
        if not sealed.startswith(_MAGIC) or len(sealed) <= start:
            return None
        try:
            return self._contents.decrypt(sealed[len(_MAGIC) : start], sealed[start:], bytes.fromhex(sha256))
        except InvalidTag:
            return None


def seal_of(key: str | None) -> Seal | None:
    """The seal of a database's key; None for a database without one."""
    return None if key is None else Seal(key)


def _secret_of(key: str) -> bytes:
    if match := _RANDOM_KEY.fullmatch(key):
        return bytes.fromhex(match[1][:64])
    return hashlib.scrypt(key.encode(), salt=b"atelier pictures", n=_SCRYPT_ROUNDS, r=8, p=1, maxmem=2**27, dklen=32)


def _derived(secret: bytes, purpose: bytes, length: int) -> bytes:
    """See https://www.rfc-editor.org/rfc/rfc5869."""
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=purpose).derive(secret)
