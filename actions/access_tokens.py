"""What an access or refresh token must be, and reading one without a web framework."""

from __future__ import annotations

from typing import Any

import jwt

from rules.errors import BadToken, TokenExpired
from runtime.key_ring import KeyRing

ALGORITHM = "HS256"
AUDIENCE = "drawbreak"
ISSUER = "drawbreak"
REQUIRED = ["exp", "iat", "sub", "aud", "iss", "sid", "jti"]
# Longer ones are nobody's: ours have about 450 characters.
TOKEN_CHARACTERS_MAX = 4_096


def claims_of(ring: KeyRing, token: str) -> dict[str, Any]:
    """What a token says that has not expired, by whatever clock it was made. Raises PyJWT's errors, BadToken."""
    key = ring.key(jwt.get_unverified_header(token).get("kid"))
    if key is None:
        raise BadToken
    return jwt.decode(
        token,
        key,
        algorithms=[ALGORITHM],
        audience=AUDIENCE,
        issuer=ISSUER,
        # Made a moment ago, by a process whose clock is ahead of ours: it is signed all the same.
        options={"require": REQUIRED, "verify_iat": False},
    )


def access_claims(ring: KeyRing, token: object) -> dict[str, Any]:
    """What an access token says: `sub`, `sid`, `role`, `exp` among others. Raises BadToken, TokenExpired."""
    if not isinstance(token, str) or not 0 < len(token) <= TOKEN_CHARACTERS_MAX:
        raise BadToken
    try:
        claims = claims_of(ring, token)
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired from error
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise BadToken from error
    if claims.get("type") != "access":
        raise BadToken
    return claims
