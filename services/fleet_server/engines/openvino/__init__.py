"""The CPU engines: chat through OpenVINO GenAI, encoders as graphs built from safetensors.

Importing this package first prevents the import of OpenVINO's telemetry package: OpenVINO then uses
its own no-op stand-in, so that nothing is sent anywhere.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
