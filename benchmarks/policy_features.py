"""The built-in policies as features of the driver: what each puts on the route, into ``[gateway]`` and at the top.

``FIELDS`` are header fields that a feature adds to every request. A feature that is only such a field is what the
policy that reads it is compared with: `bearer` is a request with a token on a route that does not look at it.
"""

from __future__ import annotations

import hashlib
from typing import Any

import jwt

SECRET = "a secret of the benchmark, long enough for SHA-256"
TOKEN = jwt.encode(
    {"iss": "https://id.example.com/", "sub": "user-4711", "aud": "api", "iat": 1767225600, "exp": 4102444800,
     "scope": "orders:read orders:write"},
    SECRET,
)  # fmt: skip
KEY = "fg_" + "k" * 43

FIELDS: dict[str, dict[str, str]] = {
    "bearer": {"authorization": f"Bearer {TOKEN}"},
    "jwt": {"authorization": f"Bearer {TOKEN}"},
    "key_field": {"x-api-key": KEY},
    "key": {"x-api-key": KEY},
    "chain": {"authorization": f"Bearer {TOKEN}"},
    "origin": {"origin": "https://app.example.com"},
    "cors": {"origin": "https://app.example.com"},
}
ROUTE: dict[str, dict[str, Any]] = {
    "jwt": {"auth": {"any": ["jwt"]}},
    "key": {"auth": {"any": ["key"]}},
    "chain": {
        "path": "/api/users/{id}",
        "auth": {"any": ["jwt"]},
        "rate_limit": {"rate": 1_000_000, "burst": 1_000_000, "key": "claim:sub"},
    },
    "cors": {"cors": {"origins": ["https://app.example.com"], "credentials": True, "expose": ["x-request-id"]}},
    "security_headers": {"security_headers": True},
    "ip": {"ip": {"allow": ["127.0.0.0/8", "10.0.0.0/8"]}},
}
_ELSEWHERE: dict[str, Any] = {"name": "elsewhere", "path": "/elsewhere/*", "upstream": "origin"}
OTHER_ROUTE: dict[str, dict[str, Any]] = {
    "other_route": _ELSEWHERE,
    "cached_elsewhere": _ELSEWHERE | {"cache": {}},
    "elsewhere": _ELSEWHERE
    | ROUTE["cors"]
    | ROUTE["security_headers"]
    | {
        "auth": {"any": ["key", "jwt"]},
        "rate_limit": {"rate": 1_000_000, "key": "key"},
        "ip": {"deny": ["192.0.2.0/24"]},
        "policies": [{"use": "plugin"}],
        "compression": {"encodings": ["gzip"]},
        "envelope": True,
        "content_types": ["application/json"],
        "request_headers": {"set": {"x-user": "{key.id}"}},
        "response_headers": {"remove": ["server"]},
    },
}
"""A second route: `other_route` without policies, `cached_elsewhere` with a cache, `elsewhere` with nearly all of them.
Requests are for the first.
"""
GATEWAY: dict[str, dict[str, Any]] = {
    "key": {
        "keys": {
            f"team-{number}": {"hash": hashlib.sha256(f"{KEY}-{number}".encode()).hexdigest()} for number in range(99)
        }
        | {"team": {"hash": hashlib.sha256(KEY.encode()).hexdigest()}}
    },
}
GATEWAY["elsewhere"] = GATEWAY["key"]
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
TOP["elsewhere"] = TOP["chain"] = TOP["jwt"]
