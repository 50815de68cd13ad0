"""Tokens and keys of an issuer, made with PyJWT and cryptography: the reference for `tests/jwt.rs`.

    pip install PyJWT==2.15.1 cryptography==50.0.2
    python make.py > tokens.json

Private keys are made anew by each run and thrown away.
"""

import base64
import hashlib
import hmac
import json

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NOW = 1_800_000_000  # 2027-01-15, the clock of the tests, in seconds since 1970
FAR = 4_102_444_800  # 2100-01-01
ISSUER, AUDIENCE = "https://issuer.example", "twinfer"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes):
    usual = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "exp": FAR,
        "scope": "openid predict metrics",
        "models": ["tumour-*"],
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
OTHER = ec.generate_private_key(ec.SECP256R1())


def jwk(algorithm, key):
    kind = {"RS256": RSAAlgorithm, "EdDSA": OKPAlgorithm}.get(algorithm, ECAlgorithm)
    public = kind.to_jwk(key.public_key(), as_dict=True)
    public.pop("key_ops", None)
    return public | {"kid": algorithm, "use": "sig", "alg": algorithm}


def token(algorithm, payload, kid="", headers=None, key=None):
    headers = (headers or {}) | ({"kid": kid or algorithm} if kid is not None else {})
    return jwt.encode(payload, key or KEYS[algorithm], algorithm=algorithm, headers=headers)


def confused(algorithm):
    """Signed with HMAC, and the public key of the issuer as its secret."""
    public = KEYS[algorithm].public_key()
    secret = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = b64(json.dumps({"alg": "HS256", "typ": "JWT", "kid": algorithm}).encode())
    signed = f"{head}.{b64(json.dumps(claims()).encode())}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{b64(mac)}"


def tampered(good):
    head, _, signature = good.split(".")
    return f"{head}.{b64(json.dumps(claims(scope='admin', models=['*'])).encode())}.{signature}"


good = {algorithm: token(algorithm, claims()) for algorithm in KEYS}
rs384 = jwt.encode(claims(), KEYS["RS256"], algorithm="RS384", headers={"kid": "RS256"})
ps256 = jwt.encode(claims(), KEYS["RS256"], algorithm="PS256", headers={"kid": "RS256"})
unsigned = jwt.encode(claims(), None, algorithm="none", headers={"kid": "ES256"})
unsigned_head, unsigned_claims, _ = unsigned.split(".")
variants = {
    "no kid": token("ES384", claims(), kid=None),
    "list of audiences": token("ES256", claims(aud=["other", AUDIENCE])),
    "list of scopes": token("ES256", claims(scope=["predict", "admin"])),
    "no models": token("ES256", claims(models=None)),
    "no scope": token("ES256", claims(scope=None)),
    "just expired": token("ES256", claims(exp=NOW - 30)),
    "almost valid": token("ES256", claims(nbf=NOW + 30)),
    "nested scopes": token("ES256", claims(scope=None, realm={"roles": ["predict"]})),
}
bad = {
    "expired": token("ES256", claims(exp=NOW - 61)),
    "no expiry": token("ES256", claims(exp=None)),
    "not yet valid": token("ES256", claims(nbf=NOW + 61)),
    "wrong audience": token("ES256", claims(aud="other")),
    "no audience": token("ES256", claims(aud=None)),
    "wrong issuer": token("ES256", claims(iss="https://other.example")),
    "no issuer": token("ES256", claims(iss=None)),
    "unknown kid": token("ES256", claims(), kid="ES999"),
    "other key": token("ES256", claims(), key=OTHER),
    "kid of another algorithm": token("ES256", claims(), kid="RS256"),
    "tampered": tampered(good["ES256"]),
    "tampered RS256": tampered(good["RS256"]),
    "tampered EdDSA": tampered(good["EdDSA"]),
    "alg none": unsigned,
    "alg none with a signature": f"{unsigned_head}.{unsigned_claims}.{good['ES256'].split('.')[2]}",
    "HS256 with the key of RS256": confused("RS256"),
    "HS256 with the key of ES256": confused("ES256"),
    "RS384": rs384,
    "PS256": ps256,
    "critical": token("ES256", claims(), headers={"crit": ["exp"], "b64": True}),
    "cut": good["ES256"][:-2],
    "padded": good["ES256"] + "==",
    "two parts": ".".join(good["ES256"].split(".")[:2]),
    "empty": "..",
}
keys = [jwk(algorithm, key) for algorithm, key in KEYS.items()]
# Symmetric keys and keys for encryption are in sets of some issuers, and must not count.
keys += [
    {"kty": "oct", "kid": "HS256", "k": b64(b"secret" * 8), "alg": "HS256"},
    jwk("ES256", OTHER) | {"kid": "for encryption", "use": "enc", "alg": "ECDH-ES"},
]
later = {"keys": [jwk("ES256", OTHER) | {"kid": "ES999"}] + keys}
print(
    json.dumps(
        {
            "now": NOW,
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "jwks": {"keys": keys},
            "later_jwks": later,
            "good": good,
            "variants": variants,
            "later": token("ES256", claims(), kid="ES999", key=OTHER),
            "bad": bad,
        },
        indent=1,
    )
)
