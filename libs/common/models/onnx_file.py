"""Checks an ONNX file before anything runs it: one row in, three probabilities out, and nothing beside.

The runtime would take much more: weights in files beside the model, operators out of a shared library, loops without
an end, random numbers. What passes here is a graph of the standard's own operators over k numbers that gives the same
answer each time it is asked.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec
import onnx
from google.protobuf.message import DecodeError

from libs.common.errors import ArtifactError
from libs.common.models.bundle import ONNX_FILE

MAX_ONNX_BYTES = 32 * 1024 * 1024
MAX_ONNX_NODES = 10_000
CLASSES = 3

_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml"))
_LABEL = onnx.TensorProto.INT64
_NUMBERS: dict[int, Literal["float", "double"]] = {onnx.TensorProto.FLOAT: "float", onnx.TensorProto.DOUBLE: "double"}
_RANDOM = frozenset((
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
))


class OnnxLayout(msgspec.Struct, frozen=True):
    """How a checked model is asked.

    Parameters
    ----------
    row : name of the input, (1, k)
    probabilities : name of the output, (1, 3) down, flat, up
    number : type of both
    """

    row: str
    probabilities: str
    number: Literal["float", "double"]


def checked_onnx(content: bytes, features: int) -> OnnxLayout:
    """Return how to ask a model, after everything that can be known without running it was checked.

    Parameters
    ----------
    content : a model as ONNX
    features : number k of values in a row

    Raises
    ------
    ArtifactError : naming what is wrong and what to do about it
    """
    if len(content) > MAX_ONNX_BYTES:
        raise _refusal(f"{len(content)} bytes, at most {MAX_ONNX_BYTES} are allowed; make the model smaller")
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError, TypeError) as error:
        raise _refusal(f"is no ONNX model: {error}") from error
    if not model.HasField("graph") or not model.graph.node:
        raise _refusal("is no ONNX model: it holds no graph")
    _check_parts(model)
    try:
        onnx.checker.check_model(model)
    # The checker also raises plain errors of its C++ side, which have no common base.
    except Exception as error:
        raise _refusal(f"is malformed: {_first_line(error)}; export it anew") from error
    return _layout(model.graph, features)


def _check_parts(model: onnx.ModelProto) -> None:
    if model.functions:
        raise _refusal(f"defines the function {model.functions[0].name}; export it with its functions inlined")
    nodes = 0
    for graph in _graphs(model.graph):
        for tensor in _tensors(graph):
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                raise _refusal(f"keeps the weights {tensor.name!r} in another file; export it as one file")
        for node in graph.node:
            nodes += 1
            _check_node(node)
    if nodes > MAX_ONNX_NODES:
        raise _refusal(f"{nodes} nodes, at most {MAX_ONNX_NODES} are allowed; make the model smaller")


def _check_node(node: onnx.NodeProto) -> None:
    if node.domain not in _DOMAINS:
        raise _refusal(
            f"uses the operator {node.op_type} of {node.domain!r}, which is not of the ONNX standard; export it without"
        )
    if node.op_type in _RANDOM:
        raise _refusal(f"uses {node.op_type}, so that one row gives many answers; export it for prediction")
    if node.op_type == "Loop":
        raise _refusal("uses Loop, which may never end; export it with its loops unrolled, or with Scan")


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Give a graph and every graph within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from _graphs(inner)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors, attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            for sparse in attribute.sparse_tensors:
                yield from (sparse.values, sparse.indices)


def _layout(graph: onnx.GraphProto, features: int) -> OnnxLayout:
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise _refusal(f"has {len(inputs)} inputs; it must have one, a row of {features} values")
    if len(graph.output) not in (1, 2):
        raise _refusal(f"has {len(graph.output)} outputs; it must have the probabilities, before them at most the labels")
    row, probabilities = inputs[0], graph.output[-1]
    if len(graph.output) == 2 and graph.output[0].type.tensor_type.elem_type != _LABEL:
        raise _refusal(f"has a first output {graph.output[0].name!r} that is no label of type int64; leave it out")
    number = _NUMBERS.get(row.type.tensor_type.elem_type)
    if number is None:
        raise _refusal(f"has an input {row.name!r} that is no tensor of float or double")
    if probabilities.type.tensor_type.elem_type != row.type.tensor_type.elem_type:
        raise _refusal(
            f"has an output {probabilities.name!r} that is no tensor of {number}, the input's type; Cast makes it one, and "
            "a map of labels and probabilities is left out by zipmap=False"
        )
    if _open_shape(row) not in ([1, features], [0, features]):
        raise _refusal(f"takes {_told_shape(row)}; it must take one row of the manifest's features, 1 x {features}")
    if len(shape := _open_shape(probabilities)) != 2 or shape[0] not in (0, 1) or shape[1] not in (0, CLASSES):
        raise _refusal(f"gives {_told_shape(probabilities)}; it must give 1 x {CLASSES}: down, flat, up")
    return OnnxLayout(row.name, probabilities.name, number)


def _open_shape(value: onnx.ValueInfoProto) -> list[int]:
    """Return the sizes of a tensor, 0 where one is left open."""
    return [dim.dim_value if dim.HasField("dim_value") else 0 for dim in value.type.tensor_type.shape.dim]


def _told_shape(value: onnx.ValueInfoProto) -> str:
    return " x ".join(str(size or "any") for size in _open_shape(value)) or "a tensor of unknown shape"


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _refusal(problem: str) -> ArtifactError:
    return ArtifactError(f"{ONNX_FILE} {problem}")
