"""Attacks on keys, algorithms and signatures, by the sections of RFC 8725 that warn of them."""

import itertools

from cryptography.hazmat.primitives.serialization import Encoding
from support.forged_jwts import (
    ALG,
    ANY,
    EC,
    EC384,
    ED,
    KEY,
    KID,
    OF_RSA,
    P256_ORDER,
    PARTS,
    PSS,
    RSA,
    SECRET_ISSUER,
    SIGNATURE,
    THIEF,
    URL,
    Attack,
    claims,
    header,
    hmac_by,
    in_der,
    mislabelled,
    modulus,
    public_forms,
    salted,
    secretly,
    signed,
    with_larger_s,
    with_public_key,
)
from support.issuer import LEFT_OUT, NOW, SECRET, forge

ATTACKS = [
    # Weak signatures and insufficient signature validation: perform algorithm verification.
    Attack("2.1, 3.1", "none, unsigned", signed(RSA, b"", alg="none"), ALG),
    Attack("2.1, 3.1", "None, unsigned", signed(RSA, b"", alg="None"), ALG),
    Attack("2.1, 3.1", "nOnE, signed", header(alg="nOnE"), ALG),
    Attack("2.1, 3.1", "none, no kid", signed(RSA, b"", alg="none", kid=LEFT_OUT), ALG),
    Attack("2.1, 3.1", "none, for a secret", secretly(alg="none"), ALG),
    Attack("2.1, 3.1", "alg empty", header(alg=""), ALG),
    Attack("2.1, 3.1", "alg missing", header(alg=LEFT_OUT), ALG),
    Attack("2.1, 3.1", "alg a list", header(alg=["RS256"]), ALG),
    Attack("2.1, 3.1", "alg null", header(alg=None), ALG),
    Attack("2.1, 3.1", "alg in lower case", header(alg="rs256"), ALG),
    Attack("2.1, 3.1", "HMAC by the public key, PEM", with_public_key(Encoding.PEM), ALG),
    Attack("2.1, 3.1", "HMAC by the public key, DER", with_public_key(Encoding.DER), ALG),
    Attack("2.1, 3.1", "the same as RS256", with_public_key(Encoding.PEM, alg="RS256"), SIGNATURE),
    Attack("2.1, 3.1", "RSA for a secret", claims(iss=SECRET_ISSUER), KEY),
    Attack("2.1, 3.1", "HS512 by the secret", secretly(algorithm="HS512", alg="HS512"), ALG),
    Attack("2.1, 3.1", "HS512 as HS256", secretly(algorithm="HS512"), SIGNATURE),
    Attack("2.1, 3.1", "RS512", signed(RSA, lambda m: RSA.sign(m, "RS512"), alg="RS512"), ALG),
    Attack("2.1, 3.1", "PS256", signed(RSA, lambda m: RSA.sign(m, "PS256"), alg="PS256"), ALG),
    Attack("2.1, 3.1", "PS256 as RS256", signed(RSA, lambda m: RSA.sign(m, "PS256")), SIGNATURE),
    Attack("2.1, 3.1", "the alg of another key", header(kid="ec"), ALG),
    Attack("2.1, 3.1", "the kid and alg of another key", header(kid="ec", alg="ES256"), SIGNATURE),
    # Weak symmetric keys: ensure that keys have sufficient entropy.
    Attack("2.2, 3.5", "HMAC by nothing", secretly(b""), SIGNATURE),
    Attack("2.2, 3.5", "HMAC by most of the secret", secretly(SECRET[:-1]), SIGNATURE),
    # Validate all cryptographic operations.
    Attack("3.3", "signature stripped", signed(RSA, b""), SIGNATURE),
    Attack("3.3", "signature and dot stripped", lambda: forge(by=RSA).rpartition(".")[0], PARTS),
    Attack("3.3", "signature cut", signed(RSA, lambda m: RSA.sign(m)[:-1]), SIGNATURE),
    Attack("3.3", "signature extended", signed(RSA, lambda m: RSA.sign(m) + b"\0"), SIGNATURE),
    Attack("3.3", "signature of another JWT", signed(RSA, lambda _: RSA.sign(b"a.b")), SIGNATURE),
    Attack(
        "3.3", "signature of the claims alone", signed(RSA, lambda m: RSA.sign(m[20:])), SIGNATURE
    ),
    Attack("3.3", "ECDSA of zeros", signed(EC, bytes(64)), SIGNATURE),
    Attack("3.3", "ECDSA empty", signed(EC, b""), SIGNATURE),
    Attack("3.3", "ECDSA in DER", signed(EC, in_der), SIGNATURE),
    Attack("3.3", "EdDSA of zeros", signed(ED, bytes(64)), SIGNATURE),
    Attack("3.3", "EdDSA too short", signed(ED, bytes(63)), SIGNATURE),
    Attack("3.3", "EdDSA with a larger S", signed(ED, with_larger_s), SIGNATURE),
    Attack("3.3", "signed by a stranger", header(by=THIEF), SIGNATURE),
    Attack("3.3", "crit with the unknown", header(crit=["x"], x=1), "parameter `crit`"),
    Attack("3.3", "crit empty", header(crit=[]), "parameter `crit`"),
    Attack("3.3", "crit with the known", header(crit=["exp"], exp=NOW), "parameter `crit`"),
    Attack("3.3", "b64 false", header(b64=False, crit=["b64"]), "parameter `b64`"),
    Attack("3.3", "b64 false, not crit", header(b64=False), "parameter `b64`"),
    # Validate cryptographic inputs; do not trust received claims: keys that the JWT brings along.
    Attack("3.4, 3.10", "jwk", header(by=THIEF, jwk=THIEF.jwk), "parameter `jwk`"),
    Attack("3.4, 3.10", "jwk, well signed", header(jwk=THIEF.jwk), "parameter `jwk`"),
    Attack("2.9, 3.10", "jku", header(jku=URL), "parameter `jku`"),
    Attack("2.9, 3.10", "jku null", header(jku=None), "parameter `jku`"),
    Attack("2.9, 3.10", "x5u", header(x5u=URL), "parameter `x5u`"),
    Attack("2.9, 3.10", "x5c", header(x5c=["MIIB"]), "parameter `x5c`"),
    Attack("3.10", "kid unknown", header(kid="unknown"), KEY),
    Attack("3.10", "kid a path", header(kid="../../../dev/null"), KEY),
    Attack("3.10", "kid with SQL", header(kid="' OR '1'='1' --"), KEY),
    Attack("3.10", "kid with half a character", header(kid="\ud800"), KEY),
    Attack("3.10", "kid empty", header(kid=""), KEY),
    Attack("3.10", "kid missing, two keys", header(kid=LEFT_OUT), KEY),
    Attack("3.10", "kid for a secret", secretly(kid="x"), KEY),
    Attack("3.10", "kid too long", header(kid="k" * 256), KID),
    Attack("3.10", "kid a number", header(kid=0), KID),
    Attack("3.10", "kid null", header(kid=None), KID),
    Attack("3.10", "kid an object", header(kid={}), KID),
    # The same with keys for more algorithms, and with a key for all of RSA's.
    *(
        Attack("2.1, 3.1", f"{by.kid} as HMAC secret, {name}", hmac_by(by, secret), ALG)
        for by in (ANY, PSS, EC, EC384, ED)
        for name, secret in public_forms(by).items()
    ),
    *(
        Attack("2.1, 3.1", f"{signed_by} as {named}", mislabelled(ANY, signed_by, named), SIGNATURE)
        for signed_by, named in itertools.permutations(OF_RSA, 2)
    ),
    *(
        Attack("2.1, 3.1", f"{name} by a key for PS384", mislabelled(PSS, name, name), ALG)
        for name in OF_RSA
        if name != "PS384"
    ),
    *(
        Attack("2.1, 3.1", f"{name} accepted by no key", header(by=ANY, alg=name), ALG)
        for name in ("HS256", "HS384", "HS512", "ES512", "ES256K", "Ed448", "RSA1_5", "dir", "RS1")
    ),
    Attack("2.1, 3.1", "ES256 by a key for ES384", header(by=EC384, alg="ES256"), ALG),
    Attack("2.1, 3.1", "ES384 by a key for ES256", header(by=EC, alg="ES384"), ALG),
    Attack("2.1, 3.1", "a key for ES256 named ES384", header(by=EC, kid="ec384"), ALG),
    Attack("3.3", "PSS with no salt", signed(ANY, salted(0), alg="PS256"), SIGNATURE),
    Attack("3.3", "PSS with a salt of 20 bytes", signed(ANY, salted(20), alg="PS256"), SIGNATURE),
    Attack("3.3", "PSS with all salt", signed(ANY, salted(222), alg="PS256"), SIGNATURE),
    Attack("3.3", "PSS of zeros", signed(PSS, bytes(256)), SIGNATURE),
    Attack("3.3", "ES384 of zeros", signed(EC384, bytes(96)), SIGNATURE),
    Attack("3.3", "ES384 as long as ES256", signed(EC384, lambda _: EC.sign(b"")), SIGNATURE),
    Attack("3.3", "ECDSA of the order", signed(EC, P256_ORDER.to_bytes(32, "big") * 2), SIGNATURE),
    Attack("3.3", "ECDSA of ones", signed(EC, (1).to_bytes(32, "big") * 2), SIGNATURE),
    Attack("3.3", "RSA of one", signed(RSA, (1).to_bytes(256, "big")), SIGNATURE),
    Attack("3.3", "RSA of the modulus", signed(ANY, modulus, alg="RS512"), SIGNATURE),
]
