"""Keys lie where the SDKs' own buffered producers put them."""

from azure.eventhub._buffered_producer._partition_resolver import generate_hash_code
from hypothesis import example, given
from hypothesis import strategies as st

from local.eventhubs.partition_keys import partition_of


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=60), st.integers(1, 32))
@example("0123456789ab", 4)
@example("0123456789abc", 4)
@example("service-desk#3", 32)
def test_same_partition_as_the_sdk(key: str, partitions: int) -> None:
    """A key's partition is the one that azure-eventhub computes, for keys of any length."""
    expected = abs(generate_hash_code(key)) % partitions  # type: ignore[no-untyped-call]  # no types in the SDK's internals
    assert partition_of(key, partitions) == expected
