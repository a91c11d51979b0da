"""Where a method's ranking and mixture lie in a run."""

import pyarrow as pa

from ards_ray.run.table import NoDetails, Table


def method_folder(method: str) -> str:
    """The folder of a method in a run."""
    return f"methods/{method}"


def mixture_stage(method: str) -> str:
    """The stage that writes a method's ranking, mixture and summary."""
    return f"{method_folder(method)}/mixture"


def ranking_table(method: str) -> Table[NoDetails]:
    """Where a method's ranking and mixture lie in a run."""
    return Table(
        f"{method_folder(method)}/ranking",
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
