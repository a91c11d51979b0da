"""Source folders: where the images of conversations come from."""

import posixpath

import pyarrow as pa
import pyarrow.compute as pc


def source_folders(images: pa.ChunkedArray, sources: pa.ChunkedArray) -> pa.ChunkedArray:
    """Where conversations' first images come from: the first folder of the path, or the corpus file that embeds it."""
    images = pc.list_element(pc.list_slice(images, 0, 1, return_fixed_size_list=True), 0)
    first = pc.list_element(pc.split_pattern(images, "/", max_splits=1), 0)
    folders = pc.if_else(pc.match_substring(images, "/"), first, "(top)").fill_null("(no image)")
    if not pc.any(pc.match_substring(images, "#")).as_py():
        return folders
    # The name of an embedded image is that of the corpus file and the row within it; see `embedded_row`.
    files = pc.struct_field(pc.extract_regex(images, r"(?s)^(?P<file>.*)#\p{Nd}+$"), "file")
    names = sources.unique()
    basenames = pa.array(map(posixpath.basename, names.to_pylist()), type=pa.string())
    return pc.if_else(pc.equal(files, sources).fill_null(False), basenames.take(pc.index_in(sources, names)), folders)
