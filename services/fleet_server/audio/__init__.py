"""The speech endpoints: uploads, decoding, requests, formats, streams."""
