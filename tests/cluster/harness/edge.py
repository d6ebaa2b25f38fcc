"""An edge proxy in front of the routers: Debian's nginx, configured like ingress-nginx.

Every annotation is translated to its nginx directive; an unknown annotation is an error, so the
tested configuration always equals that of the chart.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Self

import httpx

from harness.api import Json
from harness.netns import NODE_ADDRESS
from harness.process import Process
from harness.run import Run

PORT = 8088
PREFIX = "nginx.ingress.kubernetes.io/"
_DIRECTIVES = {
    "proxy-buffering": "proxy_buffering {}",
    "proxy-request-buffering": "proxy_request_buffering {}",
    "proxy-body-size": "client_max_body_size {}",
    "proxy-http-version": "proxy_http_version {}",
    "proxy-read-timeout": "proxy_read_timeout {}s",
    "proxy-send-timeout": "proxy_send_timeout {}s",
    "proxy-next-upstream": "proxy_next_upstream {}",
}


def unavailable() -> str | None:
    """Why the edge proxy cannot run here, or None."""
    return None if shutil.which("nginx") else "it needs nginx: run `make test-deps`"


def directives(ingress: Json) -> list[str]:
    """Translate the annotations of an Ingress. Raises KeyError for an unknown one."""
    given = ingress["metadata"].get("annotations", {})
    return [
        _DIRECTIVES[name.removeprefix(PREFIX)].format(value)
        for name, value in sorted(given.items())
        if name.startswith(PREFIX)
    ]


class Edge:
    """Serves the host of an Ingress on the node's address while the `with` block runs."""

    def __init__(self, run: Run, ingress: Json, upstream: str, port: int = PORT) -> None:
        """`upstream` is the address of the Service in the Ingress."""
        self._run = run
        self._config = run.path(f"edge-{port}", "nginx.conf")
        self._config.write_text(_config(self._config.parent, ingress, upstream, port))
        self._process: Process | None = None
        self.url = f"http://{NODE_ADDRESS}:{port}"
        self.host = str(ingress["spec"]["rules"][0]["host"])

    def __enter__(self) -> Self:
        folder, config = str(self._config.parent), str(self._config)
        command = ["nginx", "-p", folder, "-c", config, "-e", "stderr"]
        self._process = Process(self._run, "edge", command)
        self._process.wait_until(self._responds)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stop()

    def _responds(self) -> bool:
        try:
            return httpx.get(self.url, trust_env=False).status_code == 404
        except httpx.HTTPError:
            return False


def _config(folder: Path, ingress: Json, upstream: str, port: int) -> str:
    (rule,) = ingress["spec"]["rules"]
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    scratch = "".join(f"  {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    settings = "".join(f"    {line};\n" for line in directives(ingress))
    paths = "".join(_location(one["path"]) for one in rule["http"]["paths"])
    # A single process, so that it ends with the tests.
    return (
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\n"
        "events { worker_connections 256; }\n"
        f"http {{\n  access_log off;\n{scratch}"
        f"  upstream routers {{ server {upstream.removeprefix('http://')}; keepalive 32; }}\n"
        f"  server {{ listen {NODE_ADDRESS}:{port} default_server; return 404; }}\n"
        f"  server {{\n    listen {NODE_ADDRESS}:{port};\n    server_name {rule['host']};\n"
        f"{settings}{paths}  }}\n}}\n"
    )


def _location(path: str) -> str:
    """A location as in ingress-nginx, with keep-alive connections to the upstream."""
    headers = (
        "proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; "
        "proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Connection '';"
    )
    return f"    location {path} {{ proxy_pass http://routers; {headers} }}\n"
