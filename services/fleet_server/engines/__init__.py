"""The engines, one package each; none imports a web framework.

No library may send telemetry. ONNX Runtime, which faster-whisper's voice detection uses, sends some
from its Linux builds unless this variable is set before it is loaded.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
