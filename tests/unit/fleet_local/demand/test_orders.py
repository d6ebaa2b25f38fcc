"""Orders as files."""

from __future__ import annotations

from pathlib import Path

from fleet_contract.api.control import Order
from fleet_local.demand import orders


def test_orders_are_taken_once(tmp_path: Path) -> None:
    assert orders.take(tmp_path) == []
    given = [Order("acme/a"), Order("acme/b", 0), Order("acme/c", 3)]
    for order in given:
        assert orders.give(tmp_path, order).exists()
    assert sorted(orders.take(tmp_path), key=lambda one: one.model) == given
    assert orders.take(tmp_path) == []
    assert list((tmp_path / "orders").iterdir()) == []


def test_other_files_are_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "orders"
    folder.mkdir()
    for number, text in enumerate(("", "[]", "{}", '{"model": 1}', "[" * 9000, "x" * 9000)):
        (folder / f"{number}.json").write_text(text)
    for number, servers in enumerate(('"2"', "true", "-1", "65", "1.5"), start=7):
        (folder / f"{number}.json").write_text(f'{{"model": "a", "servers": {servers}}}')
    (folder / "99.json").write_text('{"model": "a", "servers": 64}')
    assert orders.take(tmp_path) == [Order("a", 64)]
    assert list(folder.iterdir()) == []
