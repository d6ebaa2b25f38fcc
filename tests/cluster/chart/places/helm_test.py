"""Values of the test that `helm test` runs."""

from __future__ import annotations

from typing import Any

from chart.places.place import TEST, Place, placement

HELM_TEST: dict[str, tuple[Any, list[Place]]] = {
    **placement("test", TEST, "test", 140),
    "test.image": ("", []),
    "test.models.chat": (
        "c",
        [Place(f"{TEST} env:MODELS", '{"chat":"c","embedding":"e","speech":"s"}')],
    ),
    "test.models.embedding": ("e", []),
    "test.models.speech": ("s", []),
    "test.require": (["chat", "speech"], [Place(f"{TEST} env:REQUIRE", "chat,speech")]),
    "test.timeoutSeconds": (
        150,
        [
            Place(f"{TEST} env:TIMEOUT", "150"),
            Place(f"{TEST} spec activeDeadlineSeconds", 540),
        ],
    ),
    "test.apiKeySecret": ("test-secret", [Place(f"{TEST} from:API_KEY secretKeyRef name")]),
}
