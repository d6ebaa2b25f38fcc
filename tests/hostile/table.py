"""All attacks, from cheap to dear, and those for the release on a node."""

from __future__ import annotations

from hostile import agents, bombs, crowds, floods, leavers, schemas, slow, sounds

ATTACKS = (
    *floods.ATTACKS,
    *leavers.ATTACKS,
    *bombs.ATTACKS,
    *sounds.ATTACKS,
    *crowds.ATTACKS,
    *schemas.ATTACKS,
    *agents.ATTACKS,
    *slow.ATTACKS,
)
_ON_A_NODE = frozenset({
    "trailers after a 401",
    "one trailer without end after a chat",
    "deep nesting",
    "7 MiB of empty lists",
    "60 MiB of numbers, twice at once",
    "55 bytes of FLAC at 10 Hz",
    "five hours in 55 kB",
    "texts of 900 kB to tokenise",
    "15 MiB of inputs",
    "schema: the same in an object",
    "schema: 126 short texts",
    "bodies of 7 MiB that stop halfway",
    "200 chats",
})  # fmt: skip
ON_A_NODE = tuple(attack for attack in ATTACKS if attack.name in _ON_A_NODE)
"""One of each kind, which take less than a minute together."""
assert len(ON_A_NODE) == len(_ON_A_NODE)
