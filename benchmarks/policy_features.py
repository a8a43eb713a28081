"""The built-in policies as features of the driver: what each puts on the route and at the top of the configuration.

``FIELDS`` are header fields that a feature adds to every request. A feature that is only such a field is what the
policy that reads it is compared with: `bearer` is a request with a token on a route that does not look at it.
"""

from __future__ import annotations

from typing import Any

import jwt

SECRET = "a secret of the benchmark, long enough for SHA-256"
TOKEN = jwt.encode(
    {"iss": "https://id.example.com/", "sub": "user-4711", "aud": "api", "iat": 1767225600, "exp": 4102444800,
     "scope": "orders:read orders:write"},
    SECRET,
)  # fmt: skip

FIELDS: dict[str, dict[str, str]] = {
    "bearer": {"authorization": f"Bearer {TOKEN}"},
    "jwt": {"authorization": f"Bearer {TOKEN}"},
}
ROUTE: dict[str, dict[str, Any]] = {
    "bearer": {},
    "jwt": {"auth": {"any": ["jwt"]}},
}
TOP: dict[str, dict[str, Any]] = {
    "jwt": {
        "auth": {
            "jwt": {
                "algorithms": ["HS256"],
                "secret": SECRET,
                "issuer": "https://id.example.com/",
                "audience": ["api"],
                "claims_to_headers": {"sub": "x-user-id"},
            }
        }
    },
}
