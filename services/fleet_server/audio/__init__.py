"""Speech over HTTP: uploads, audio decoding, requests, response formats, streams."""
