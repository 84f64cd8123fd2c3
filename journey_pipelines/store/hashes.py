"""Python twins of the migration's hash functions; a test holds each pair equal.

The database computes them in bulk; Python needs them where a row is made or recognised one at a time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

SHARDS = 64
BUCKETS = 10_000
_SEPARATOR = "\x1f"
_BLOCK = 64


def shard_of(customer_id: str) -> int:
    """0..63: the shard that all rows of a customer carry."""
    return _first_60_bits(customer_id) % SHARDS


def bucket_of(salted: str) -> int:
    """0..9999: a sticky draw for hold-outs and splits."""
    return _first_60_bits(salted) % BUCKETS


def _first_60_bits(text: str) -> int:
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def event_key(source: str, source_event_id: str) -> bytes:
    """The 16 bytes under which `event_keys` remembers an event that was taken in."""
    return hashlib.sha256(f"{source}{_SEPARATOR}{source_event_id}".encode()).digest()[:16]


def message_key(salt: str, journey_id: int, step_key: str, action_id: str, visit: int, slot: str) -> str:
    """32 hex digits: the idempotency key of a ledger row, different in every database (`engine_identity.message_salt`)."""
    parts = (salt, str(journey_id), step_key, action_id, str(visit), slot)
    return hashlib.sha256(_SEPARATOR.join(parts).encode()).digest()[:16].hex()


@dataclass(frozen=True, slots=True)
class AddressKey:
    """The two padded keys of HMAC-SHA256 (RFC 2104), as `engine_identity` stores them: PostgreSQL has sha256, not hmac."""

    inner: bytes
    outer: bytes

    @classmethod
    def from_secret(cls, secret: bytes) -> AddressKey:
        """`secret`: at most 64 random bytes."""
        if len(secret) > _BLOCK:
            raise ValueError(f"an address key has at most {_BLOCK} bytes, got {len(secret)}")
        padded = secret.ljust(_BLOCK, b"\0")
        return cls(bytes(b ^ 0x36 for b in padded), bytes(b ^ 0x5C for b in padded))

    def hmac(self, address: str) -> bytes:
        """32 bytes; upper and lower case are one address."""
        inner = hashlib.sha256(self.inner + address.lower().encode()).digest()
        return hashlib.sha256(self.outer + inner).digest()
