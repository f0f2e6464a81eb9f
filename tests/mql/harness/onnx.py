"""The terminal's ``Onnx*`` functions, run by onnxruntime on this side of the control channel."""

import base64
from typing import Any

import numpy as np

from tests.mql.harness.answers import Answerer
from tests.mql.harness.constants import value_of
from tests.mql.harness.expert import MqlError

_DATA_TYPES = {
    "tensor(float)": "FLOAT",
    "tensor(double)": "DOUBLE",
    "tensor(int64)": "INT64",
    "tensor(int32)": "INT32",
    "tensor(bool)": "BOOL",
}
_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


class _Model:
    def __init__(self, session: Any) -> None:
        self.session = session
        self.inputs, self.outputs = session.get_inputs(), session.get_outputs()
        self.shapes: dict[str, tuple[int, ...]] = {}

    def shape(self, tensor: Any) -> tuple[int, ...]:
        """Return a tensor's shape: as set, else as the model says.

        Raises
        ------
        MqlError : a dimension was left open
        """
        shape = self.shapes.get(tensor.name, tuple(tensor.shape))
        if not all(isinstance(size, int) and size > 0 for size in shape):
            raise MqlError(value_of("ERR_ONNX_WRONG_DIMENSION"))
        return shape


class OnnxAnswers(Answerer):
    """Answers ``Onnx*`` as the terminal does: shapes must be set, sizes and number types must fit.

    Mix it into an answerer: ``class Answers(OnnxAnswers, PackageAnswers)``.

    Attributes
    ----------
    onnx_broken : while true every ``OnnxRun`` fails with 5803
    """

    onnx_broken = False

    def _models(self) -> dict[int, _Model]:
        found: dict[int, _Model] = self.__dict__.setdefault("_onnx", {})
        return found

    def _model(self, handle: int) -> _Model:
        model = self._models().get(handle)
        if model is None:
            raise MqlError(value_of("ERR_ONNX_INVALID_PARAMETER"))
        return model

    def OnnxCreate(self, content: str, flags: int) -> int | None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                base64.b64decode(content), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own exceptions have no common base
            raise MqlError(value_of("ERR_ONNX_NOT_SUPPORTED")) from error
        handle = len(self._models()) + 1
        self._models()[handle] = _Model(session)
        return handle

    def OnnxRelease(self, handle: int) -> bool:
        return self._models().pop(handle, None) is not None

    def OnnxGetInputCount(self, handle: int) -> int:
        return len(self._model(handle).inputs)

    def OnnxGetOutputCount(self, handle: int) -> int:
        return len(self._model(handle).outputs)

    def OnnxGetInputName(self, handle: int, index: int) -> str:
        return str(self._model(handle).inputs[index].name)

    def OnnxGetOutputName(self, handle: int, index: int) -> str:
        return str(self._model(handle).outputs[index].name)

    def OnnxGetInputTypeInfo(self, handle: int, index: int) -> dict[str, Any]:
        return _type_info(self._model(handle).inputs[index])

    def OnnxGetOutputTypeInfo(self, handle: int, index: int) -> dict[str, Any]:
        return _type_info(self._model(handle).outputs[index])

    def OnnxSetInputShape(self, handle: int, index: int, shape: list[int]) -> bool:
        model = self._model(handle)
        return _set_shape(model, model.inputs, index, shape)

    def OnnxSetOutputShape(self, handle: int, index: int, shape: list[int]) -> bool:
        model = self._model(handle)
        return _set_shape(model, model.outputs, index, shape)

    def OnnxRun(self, handle: int, flags: int, given: list[dict[str, Any]]) -> list[list[float]]:
        model = self._model(handle)
        if self.onnx_broken:
            raise MqlError(value_of("ERR_ONNX_RUN_FAILED"))
        feed = {}
        for tensor, one in zip(model.inputs, given, strict=True):
            wanted, shape = np.dtype(_NUMPY[tensor.type]), model.shape(tensor)
            if flags & value_of("ONNX_NO_CONVERSION") and one["type"] != wanted.name:
                raise MqlError(value_of("ERR_ONNX_INVALID_PARAMETER_TYPE"))
            if len(one["values"]) != int(np.prod(shape)):
                raise MqlError(value_of("ERR_ONNX_INVALID_PARAMETER_SIZE"))
            feed[tensor.name] = np.array(one["values"], dtype=wanted).reshape(shape)
        results = model.session.run(None, feed)
        for tensor, result in zip(model.outputs, results, strict=True):
            if tuple(result.shape) != model.shape(tensor):
                raise MqlError(value_of("ERR_ONNX_WRONG_DIMENSION"))
        return [result.ravel().tolist() for result in results]


def _set_shape(model: _Model, tensors: list[Any], index: int, shape: list[int]) -> bool:
    if not 0 <= index < len(tensors) or len(shape) != len(tensors[index].shape):
        raise MqlError(value_of("ERR_ONNX_WRONG_DIMENSION"), False)
    for size, declared in zip(shape, tensors[index].shape, strict=True):
        if size <= 0 or (isinstance(declared, int) and declared > 0 and size != declared):
            raise MqlError(value_of("ERR_ONNX_WRONG_DIMENSION"), False)
    model.shapes[tensors[index].name] = tuple(shape)
    return True


def _type_info(tensor: Any) -> dict[str, Any]:
    name = _DATA_TYPES.get(tensor.type, "UNDEFINED")
    return {
        "data_type": value_of(f"ONNX_DATA_TYPE_{name}"),
        "dimensions": [size if isinstance(size, int) else -1 for size in tensor.shape],
    }
