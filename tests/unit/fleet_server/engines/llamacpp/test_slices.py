from __future__ import annotations

from fleet_server.engines.llamacpp.slices import KnownPrompts, slices


def test_a_long_prompt_is_divided_after_the_known_prefix() -> None:
    body = {"prompt": list(range(10)), "lora": [{"id": 0}], "n_predict": 5, "stream": True}
    found = list(slices(body, 3, 3))
    assert [each["prompt"] for each in found] == [list(range(6)), list(range(9))]
    assert all(each["n_predict"] == 0 and each["cache_prompt"] for each in found)
    assert all(each["lora"] == [{"id": 0}] for each in found)
    assert all("stream" not in each for each in found)


def test_a_prompt_of_one_slice_is_not_divided() -> None:
    assert list(slices({"prompt": [1, 2, 3]}, 0, 3)) == []
    assert list(slices({"prompt": [1, 2, 3, 4]}, 2, 3)) == []


def test_the_longest_known_prefix() -> None:
    known = KnownPrompts(2)
    assert known.add([1, 2, 3]) == 0
    assert known.add([1, 2, 4, 5]) == 2
    assert known.add([1, 2, 4]) == 3
    assert known.add([1, 2, 3, 9]) == 2  # the first one has left
    assert known.add([7]) == 0
