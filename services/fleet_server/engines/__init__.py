"""The engines, one package each; nothing here imports a web framework.

Libraries below must send nothing anywhere. ONNX Runtime, which faster-whisper's voice detection
runs on, posts to its maker from its Linux builds unless this variable is set before it is loaded.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
