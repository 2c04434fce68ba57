#!/usr/bin/env python3
"""Prints signatures made with the `standardwebhooks` library of PyPI, for the tests of the service.

    tools/webhooks/python tools/webhooks/vectors.py > crates/service/src/webhooks/vectors.json

The API secrets are made up. How a signing secret follows from one is written down here a second
time, independently of the service.
"""

import base64
import hashlib
import hmac
import json
from datetime import datetime, timezone

from standardwebhooks import Webhook

CASES = [
    ("", "msg_00000000000000000000000000000000", 0, ""),
    ("secret", "msg_0123456789abcdef0123456789abcdef", 1734513807, "{}"),
    (
        "0123456789ABCDEFGHIJKLMNOPQRSTUV",
        "msg_ffffffffffffffffffffffffffffffff",
        1800000000,
        '{"total":"1","errors":[],"tasklist":[{"id":"2221"}],"result":true}',
    ),
    ("ünïcode", "msg_1", 4102444800, '{"prompt":"a cookie: 🍪\\n"}'),
]


def signing_secret(api_secret: str) -> str:
    derived = hmac.new(api_secret.encode(), b"tintype webhook v1", hashlib.sha256)
    return "whsec_" + base64.b64encode(derived.digest()).decode()


def vector(api_secret: str, id: str, timestamp: int, body: str) -> dict:
    secret = signing_secret(api_secret)
    at = datetime.fromtimestamp(timestamp, tz=timezone.utc)
    return {
        "api_secret": api_secret,
        "secret": secret,
        "id": id,
        "timestamp": timestamp,
        "body": body,
        "signature": Webhook(secret).sign(msg_id=id, timestamp=at, data=body),
    }


print(json.dumps({"vectors": [vector(*case) for case in CASES]}, indent=1, ensure_ascii=False))
