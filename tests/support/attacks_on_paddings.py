"""RSA signatures whose padding is nearly right: what a lenient reader accepts can be forged.

RFC 8017, section 8.2.2 builds the padding anew and compares all of it. Implementations that parse
it instead have accepted forgeries.
"""

from collections.abc import Callable
from hashlib import sha1, sha256, sha512

from support.forged_jwts import RSA, SIGNATURE, Attack, Forged, signed

# In bytes: the modulus, and the padding up to DigestInfo: 00 01, ff as often as needed, 00.
SIZE = 256
# DigestInfo in DER (RFC 8017, section 9.2): the identifier of SHA-256, its parameters, the digest.
SHA256, NULL = bytes.fromhex("0609608648016503040201"), b"\5\0"
SHA1, SHA512 = bytes.fromhex("06052b0e03021a"), bytes.fromhex("0609608648016503040203")


def der(tag: int, *content: bytes, length: bytes = b"") -> bytes:
    """Encode in DER, or with another `length` than the right one."""
    joined = b"".join(content)
    return bytes([tag]) + (length or bytes([len(joined)])) + joined


def info(message: bytes) -> bytes:
    return der(0x30, der(0x30, SHA256, NULL), der(4, sha256(message).digest()))


def pad(content: bytes, start: bytes = b"\0\1", end: bytes = b"\0") -> bytes:
    return start + b"\xff" * (SIZE - len(start) - len(end) - len(content)) + end + content


def raised(padded: Callable[[bytes], bytes]) -> Forged:
    """Sign by RSA what was padded by hand."""
    numbers = RSA.private.private_numbers()

    def sign(message: bytes) -> bytes:
        number = int.from_bytes(padded(message), "big")
        return pow(number, numbers.d, numbers.public_numbers.n).to_bytes(SIZE, "big")

    return signed(RSA, sign)


def with_info(make: Callable[[bytes], bytes]) -> Forged:
    """Put another DigestInfo, made of the digest, into padding that is right."""
    return raised(lambda message: pad(make(sha256(message).digest())))


RIGHT = raised(lambda message: pad(info(message)))

DIGEST_INFOS: dict[str, Callable[[bytes], bytes]] = {
    "no DigestInfo": lambda digest: digest,
    "no parameters": lambda digest: der(0x30, der(0x30, SHA256), der(4, digest)),
    "parameters twice": lambda digest: der(0x30, der(0x30, SHA256, NULL * 2), der(4, digest)),
    "parameters not null": lambda digest: der(0x30, der(0x30, SHA256, b"\4\2ab"), der(4, digest)),
    "long form of a length": lambda digest: der(
        0x30, der(0x30, SHA256, NULL), der(4, digest), length=b"\x81\x31"
    ),
    "long form of the digest's length": lambda digest: der(
        0x30, der(0x30, SHA256, NULL), der(4, digest, length=b"\x81\x20")
    ),
    "a length with a zero before": lambda digest: der(
        0x30, der(0x30, SHA256, NULL), der(4, digest), length=b"\x82\0\x31"
    ),
    "no length": lambda digest: der(
        0x30, der(0x30, SHA256, NULL), der(4, digest), b"\0\0", length=b"\x80"
    ),
    "a length too large by one": lambda digest: der(
        0x30, der(0x30, SHA256, NULL), der(4, digest), length=b"\x32"
    ),
    "a length of 2**32 more": lambda digest: der(
        0x30, der(0x30, SHA256, NULL), der(4, digest), length=b"\x85\1\0\0\0\x31"
    ),
    "more inside": lambda digest: der(0x30, der(0x30, SHA256, NULL), der(4, digest), NULL),
    "more behind": lambda digest: der(0x30, der(0x30, SHA256, NULL), der(4, digest)) + b"\0" * 8,
    "the digest in parts": lambda digest: der(
        0x30, der(0x30, SHA256, NULL), der(0x24, der(4, digest[:16]), der(4, digest[16:]))
    ),
    "the digest cut": lambda digest: der(0x30, der(0x30, SHA256, NULL), der(4, digest[:-1])),
    "another tag": lambda digest: der(0x31, der(0x30, SHA256, NULL), der(4, digest)),
    "named SHA-1": lambda digest: der(0x30, der(0x30, SHA1, NULL), der(4, digest)),
    "named SHA-512": lambda digest: der(0x30, der(0x30, SHA512, NULL), der(4, digest)),
}
PADDINGS: dict[str, Callable[[bytes], bytes]] = {
    "no zero before DigestInfo": lambda message: pad(info(message), end=b"\xff"),
    "no zero at the start": lambda message: pad(info(message), start=b"\1"),
    "type 0": lambda message: pad(info(message), start=b"\0\0"),
    "type 2": lambda message: pad(info(message), start=b"\0\2"),
    "a byte of the fill is another": lambda message: pad(info(message), start=b"\0\1\xff\xfe"),
    "8 bytes of fill, garbage behind": lambda message: (
        b"\0\1" + b"\xff" * 8 + b"\0" + info(message)
    ).ljust(SIZE, b"g"),
    "8 bytes of fill, garbage before": lambda message: (
        b"\0\1" + b"\xff" * 8 + b"\0" + b"g" * (SIZE - 11 - len(info(message))) + info(message)
    ),
    "SHA-1": lambda message: pad(
        der(0x30, der(0x30, SHA1, NULL), der(4, sha1(message, usedforsecurity=False).digest()))
    ),
    "SHA-512": lambda message: pad(
        der(0x30, der(0x30, SHA512, NULL), der(4, sha512(message).digest()))
    ),
}

ATTACKS = [
    *(
        Attack("3.3", f"RSA padding: {name}", with_info(make), SIGNATURE)
        for name, make in DIGEST_INFOS.items()
    ),
    *(
        Attack("3.3", f"RSA padding: {name}", raised(padded), SIGNATURE)
        for name, padded in PADDINGS.items()
    ),
]
