"""The CPU engines: chat through OpenVINO GenAI, encoders on graphs built from safetensors.

Importing this package first keeps OpenVINO's telemetry package from being imported at all: OpenVINO
then falls back to its own empty stand-in, and nothing can be sent anywhere.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
