"""The table of a method's ranking."""

import pyarrow as pa

from ards_ray.run.table import NoDetails, Table


def ranking_table(method: str) -> Table[NoDetails]:
    """The table of a method's ranking."""
    return Table(
        f"methods/{method}/ranking",
        lambda width: pa.schema(
            [
                pa.field("row", pa.int64(), nullable=False),
                pa.field("group", pa.string()),
                pa.field("score", pa.float32(), nullable=False),
                pa.field("eligible", pa.bool_(), nullable=False),
                pa.field("selected", pa.bool_(), nullable=False),
            ]
        ),
        NoDetails,
    )
