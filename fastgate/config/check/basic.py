"""What is said of names and passwords."""

from collections.abc import Iterator

from fastgate.config.check.findings import Finding
from fastgate.config.schema.basic import read_users
from fastgate.config.schema.root import Root


def basic_warnings(config: Root) -> Iterator[Finding]:
    """About the hashes of passwords."""
    if config.auth.basic is not None:
        users, _ = read_users(config.auth.basic)
        if len({stored[4:6] for stored in users.values()}) > 1:
            yield (
                ("auth", "basic"),
                "the hashes have different costs, so the time of an answer reveals which names exist: use one cost",
            )
