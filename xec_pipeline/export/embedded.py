"""What an exported file says about itself, read without torch."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no stubs

from xec_pipeline.errors import CorruptFileError, DataError


def read_metadata(path: Path) -> dict[str, str]:
    """Return the `metadata_props` of an ONNX file.

    Raises
    ------
    DataError
        If there is no such file.
    CorruptFileError
        If it is not an ONNX file.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except DecodeError as error:
        raise CorruptFileError(f"{path}: not an ONNX model: {error}") from None
    return {item.key: item.value for item in model.metadata_props}
