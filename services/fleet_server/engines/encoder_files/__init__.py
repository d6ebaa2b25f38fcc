"""What the files of an encoder say, read without any engine; openvino and torch share it."""
