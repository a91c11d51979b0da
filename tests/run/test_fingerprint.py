"""Fingerprints: a changed value never goes unnoticed, and nothing else changes them."""

import json
import os
import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ards_ray.run.fingerprint import changes, digest, fingerprint

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
inputs = st.dictionaries(st.text(max_size=5), values, max_size=5)


@given(inputs, inputs)
def test_two_inputs_have_one_fingerprint_only_if_they_are_equal(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Old numbers would be reused under new settings, and nobody would see it."""
    # 1, 1.0 and true are equal in Python and three values in a file.
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (fingerprint(first) == fingerprint(second)) is same


@given(inputs.flatmap(lambda given: st.tuples(st.just(given), st.permutations(sorted(given)))))
def test_order_of_keys_does_not_matter(given_inputs: tuple[dict[str, Any], list[str]]) -> None:
    """Hours of scoring would be thrown away because a file lists its keys in another order."""
    content, keys = given_inputs
    assert fingerprint({key: content[key] for key in keys}) == fingerprint(content)


def test_order_within_a_list_matters() -> None:
    """Corpus files in another order are another corpus: rows count over all of them."""
    assert fingerprint({"corpus.files": ["a", "b"]}) != fingerprint({"corpus.files": ["b", "a"]})
    assert digest(["a", "b"]) != digest(["b", "a"])
    assert digest(["ab"]) != digest(["a", "b"])


def test_every_process_makes_the_same_fingerprint() -> None:
    """Otherwise every restart would redo everything."""
    script = "from ards_ray.run.fingerprint import fingerprint; print(fingerprint({'b': 1, 'a': {'é': None}}))"
    environment = {**os.environ, "PYTHONHASHSEED": "3"}
    answer = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert answer.stdout.strip() == fingerprint({"a": {"é": None}, "b": 1})


def test_names_that_are_no_unicode_have_a_digest() -> None:
    """A file name on Linux is bytes; Python brings odd ones as lone surrogates."""
    assert digest(["\udcff.png"]) != digest(["\udcfe.png"])


@given(inputs)
def test_nothing_changed(content: dict[str, Any]) -> None:
    """A user who changed nothing must not be told that something changed."""
    assert changes(content, json.loads(json.dumps(content))) == []


settings = st.recursive(
    st.integers() | st.text(max_size=5), lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
groups = st.dictionaries(st.text(max_size=3), settings, max_size=3)


@given(groups, groups)
def test_every_change_is_explained(first: dict[str, Any], second: dict[str, Any]) -> None:
    """A run is refused because of a change: without a line that names it, the user cannot undo it."""
    assert bool(changes(first, second)) is (first != second)


def test_lines_name_key_new_value_and_old() -> None:
    """That line is all that the user sees when a change is refused."""
    before = {"attacks": {"noise": False, "symbol": True}, "seed": 1, "model": None, "gone": "x"}
    after = {"attacks": {"noise": True, "symbol": True}, "seed": 2, "model": None, "new": [1]}
    assert changes(before, after) == [
        "attacks.noise: true, was false",
        'gone: null, was "x"',
        "new: [1], was null",
        "seed: 2, was 1",
    ]
