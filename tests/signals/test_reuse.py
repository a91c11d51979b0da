"""Rows of another run are found by their content."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ards_ray.signals.reuse import Earlier, EarlierSignal

# Few values, so that digests share beginnings and end in zeros, which numpy takes for padding.
DIGESTS = st.lists(st.sampled_from([0, 1, 255]), min_size=32, max_size=32).map(bytes)


@given(st.lists(DIGESTS, max_size=30, unique=True), DIGESTS)
def test_a_content_is_found_exactly_if_it_is_there(contents: list[bytes], other: bytes) -> None:
    """One that is not found is scored for nothing; one that is found wrongly gets the scores of another."""
    contents = sorted(contents)
    places = list(range(len(contents)))
    # Every third conversation failed when its vector was computed.
    vectors = [None if place % 3 == 2 else place for place in places]
    columns = {
        "content": pa.array(contents, pa.binary(32)),
        "clean": pa.array(places, pa.int64()),
        "vectors": pa.array(vectors, pa.int64()),
    }
    signals = {name: EarlierSignal(pa.table({}), ()) for name in ("clean", "vectors")}
    earlier = Earlier("", pa.table(columns), signals)
    expected = [{"clean": place, **({} if place % 3 == 2 else {"vectors": place})} for place in places]
    assert [earlier.find(content) for content in contents] == expected
    assert earlier.find(other) == (expected[contents.index(other)] if other in contents else {})
