"""Orders as files."""

from __future__ import annotations

from pathlib import Path

from fleet_local.demand import orders
from fleet_local.demand.orders import Order


def test_orders_are_taken_once(tmp_path: Path) -> None:
    assert orders.take(tmp_path) == []
    given = [Order("acme/a", load=True), Order("acme/b", load=False)]
    for order in given:
        assert orders.give(tmp_path, order).exists()
    assert sorted(orders.take(tmp_path), key=lambda one: one.model) == given
    assert orders.take(tmp_path) == []
    assert list((tmp_path / "orders").iterdir()) == []


def test_other_files_are_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "orders"
    folder.mkdir()
    for number, text in enumerate(("", "[]", "{}", '{"model": "a"}', "[" * 9000, "x" * 9000)):
        (folder / f"{number}.json").write_text(text)
    (folder / "7.json").write_text('{"model": "a", "load": "yes"}')
    assert orders.take(tmp_path) == [Order("a", load=False)]
    assert list(folder.iterdir()) == []
