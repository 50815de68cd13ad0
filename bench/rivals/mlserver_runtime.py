"""A runtime of MLServer for onnxruntime: it brings none of its own.

Open Inference Protocol v2: a row of numbers as the tensor `X`, a picture or bytes as `BYTES` in base64;
label, probabilities, boxes or score come back as tensors.
"""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from work import KINDS


class OnnxRuntime(MLModel):
    async def load(self) -> bool:
        extra = self.settings.parameters.extra
        self.work = KINDS[extra["kind"]](extra["model"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.inputs[0]
        if given.datatype == "BYTES":
            outputs = described(self.work.predict(Base64Codec.decode_input(given)[0]))
        else:
            outputs = rows(*self.work.predict(NumpyCodec.decode_input(given)))
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=outputs)


def rows(labels: list, probabilities: list) -> list:
    values = [list(one.values()) if isinstance(one, dict) else one for one in probabilities]
    return [
        StringCodec.encode_output("output_label", labels),
        NumpyCodec.encode_output("output_probability", np.array(values, np.float32)),
    ]


def described(predicted) -> list:
    if isinstance(predicted, tuple):
        label, score = predicted
        return [StringCodec.encode_output("label", [label]), NumpyCodec.encode_output("score", np.array([score], np.float32))]
    return [NumpyCodec.encode_output("boxes", predicted)]
