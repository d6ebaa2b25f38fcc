"""All attacks, from cheap to dear."""

from __future__ import annotations

from hostile import bombs, crowds, floods, leavers, schemas, slow, sounds

ATTACKS = (
    *floods.ATTACKS,
    *leavers.ATTACKS,
    *bombs.ATTACKS,
    *sounds.ATTACKS,
    *crowds.ATTACKS,
    *schemas.ATTACKS,
    *slow.ATTACKS,
)
