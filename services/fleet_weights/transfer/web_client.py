"""The HTTP client of downloads: bounded redirects, token only for the hub, errors with hints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from fleet_weights.errors import WeightsError
from fleet_weights.transfer.retry_policy import RetryPolicy

PUBLIC_HUB = "https://huggingface.co"
MAX_REDIRECTS = 5
NO_HEADERS: Mapping[str, str] = {}
MAX_JSON_BYTES = 32 << 20
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
OFFLINE_HINT = (
    "Check the connection (HTTPS_PROXY, SSL_CERT_FILE), set HF_ENDPOINT to a mirror of the hub, or "
    "put the weights on disk and name them with a file:// source."
)


class Retry(Exception):
    """A transient failure: retry after `after` seconds, or raise `final` after the last attempt."""

    def __init__(self, final: WeightsError, after: float | None = None) -> None:
        super().__init__(final.message)
        self.final = final
        self.after = after


class Authorization(Protocol):
    """The value of the header `authorization`, which a challenge of the server renews."""

    header: str | None

    def renew(self, challenge: str) -> str | None:
        """The new value after a response 401 with `WWW-Authenticate: challenge`."""
        ...


class WebClient:
    """Sends the token to the origin of the hub only, never after a redirect to another."""

    def __init__(self, environ: Mapping[str, str], retry_policy: RetryPolicy) -> None:
        self.endpoint = (environ.get("HF_ENDPOINT") or PUBLIC_HUB).rstrip("/")
        if urlsplit(self.endpoint).scheme not in ("http", "https"):
            raise WeightsError(
                "HF_ENDPOINT is not an http(s) address.", "Set it to the address of a hub."
            )
        self._token, self._token_source = token(environ)
        if any(character.isspace() or not character.isascii() for character in self._token):
            raise WeightsError(
                f"{self._token_source} contains invalid characters.", "Set the token again."
            )
        self.logins: dict[str, Authorization] = {}
        """Authorization of the requests below a URL."""
        self._client = httpx.Client(
            timeout=httpx.Timeout(retry_policy.read_seconds, connect=retry_policy.connect_seconds),
            headers={"user-agent": f"modelfleet/{_version()}"},
        )

    def close(self) -> None:
        self._client.close()

    def json(
        self, url: str, *, with_token: bool = False, headers: Mapping[str, str] = NO_HEADERS
    ) -> Any:
        """The JSON document at `url`. Raises Retry and WeightsError."""
        with self.stream(url, headers, with_token=with_token) as response:
            body = self._whole(url, response, MAX_JSON_BYTES)
            response_type = response.headers.get("content-type", "")
        try:
            return httpx.Response(200, content=body).json()
        except ValueError:
            raise WeightsError(
                f"{url}: the response ({response_type or 'no content type'}) is not JSON.",
                "Check HF_ENDPOINT.",
            ) from None

    def body(self, url: str, headers: Mapping[str, str], limit: int) -> bytes:
        """The body of the response, up to `limit` bytes. Raises Retry and WeightsError."""
        with self.stream(url, headers, with_token=False) as response:
            return self._whole(url, response, limit)

    def _whole(self, url: str, response: httpx.Response, limit: int) -> bytes:
        body = bytearray()
        for chunk in self.chunks(response):
            body += chunk
            if len(body) > limit:
                raise WeightsError(f"{_plain(url)}: the response has more than {limit} bytes.")
        return bytes(body)

    @contextmanager
    def stream(
        self, url: str, headers: Mapping[str, str], *, with_token: bool
    ) -> Iterator[httpx.Response]:
        """The response to a GET after redirects: 200, 206 or 416. Raises Retry and WeightsError."""
        sent = dict(headers)
        if with_token and self._token and url.startswith(f"{self.endpoint}/"):
            sent["authorization"] = f"Bearer {self._token}"
        login = next((one for base, one in self.logins.items() if url.startswith(base)), None)
        if login is not None and login.header:
            sent["authorization"] = login.header
        response = self._open(url, sent)
        if login is not None and self._challenged(url, response):
            response.close()
            header = login.renew(response.headers.get("www-authenticate", ""))
            response = self._open(url, {**sent, "authorization": header} if header else sent)
        try:
            if response.status_code not in (200, 206, 416):
                self._refuse(url, response)
            yield response
        finally:
            response.close()

    def chunks(self, response: httpx.Response) -> Iterator[bytes]:
        """The chunks of the body. Raises Retry if the connection breaks."""
        try:
            yield from response.iter_bytes()
        except httpx.HTTPError as error:
            raise Retry(_unreachable(str(response.request.url), error)) from error

    @staticmethod
    def _challenged(url: str, response: httpx.Response) -> bool:
        """Whether the challenge is from the host of `url`, not from one it redirected to."""
        asked, wanted = response.request.url, httpx.URL(url)
        return response.status_code == 401 and asked.netloc == wanted.netloc

    def _open(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        try:
            request = self._client.build_request("GET", url, headers=dict(headers))
            for _ in range(MAX_REDIRECTS + 1):
                response = self._client.send(request, stream=True)
                following = response.next_request
                if following is None:
                    return response
                response.close()
                if request.url.scheme == "https" and following.url.scheme != "https":
                    raise WeightsError(f"{_plain(url)} redirects from https to http.")
                request = following
        except httpx.InvalidURL as error:
            raise WeightsError(f"{_plain(url)} is not a usable address: {error}.") from error
        except httpx.HTTPError as error:
            raise Retry(_unreachable(url, error)) from error
        raise WeightsError(f"{_plain(url)} redirects more than {MAX_REDIRECTS} times.")

    def _refuse(self, url: str, response: httpx.Response) -> None:
        status = response.status_code
        reason = response.headers.get("x-error-message", "")[:300]
        what = f"{_plain(url)}: HTTP {status}" + (f" ({reason})" if reason else "") + "."
        if status in RETRIED:
            after = response.headers.get("retry-after", "")
            raise Retry(WeightsError(what, "Try again later."),
                        float(after) if after.isdigit() else None)  # fmt: skip
        raise WeightsError(what, self._hint(url, status, response.headers.get("x-error-code", "")))

    def _hint(self, url: str, status: int, code: str) -> str:
        """What to do; the codes are those in `hf_raise_for_status` of huggingface_hub."""
        if not url.startswith(f"{self.endpoint}/"):
            if any(url.startswith(base) for base in self.logins) and status in (401, 403, 404):
                return (
                    "Check the reference; a private image needs a pull secret, or the login of "
                    "`docker login`."
                )
            return "Correct the address in the spec." if status == 404 else ""
        if code == "RevisionNotFound":
            return "The repository exists, but the revision is not in it; correct it in `source`."
        if code == "EntryNotFound":
            return "The repository has no such file; correct the path in `source`."
        if status in (401, 403):
            if not self._token:
                return (
                    "The repository is gated, private or misspelt: accept its terms on its page "
                    "and set HF_TOKEN to a token that may read it, or run `hf auth login`."
                )
            return (
                f"{self._token_source} is set, but may not read this repository: accept its terms "
                "on its page with the account of the token."
            )
        return "Check the repository's name in `source`." if status == 404 else ""


def token(environ: Mapping[str, str]) -> tuple[str, str]:
    """The hub's token and where it is from: HF_TOKEN, else the file that `hf auth login` writes.

    Both are empty without one. Paths: huggingface.co/docs/huggingface_hub, environment variables.
    """
    if value := (environ.get("HF_TOKEN") or "").strip():
        return value, "HF_TOKEN"
    path = _token_file(environ)
    try:
        stored = path.expanduser().read_text(encoding="utf-8").strip() if path is not None else ""
    except (OSError, ValueError):
        return "", ""
    return (stored, str(path)) if stored else ("", "")


def _token_file(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get("HF_TOKEN_PATH"):
        return Path(named)
    if home := environ.get("HF_HOME"):
        return Path(home) / "token"
    if cache := environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "huggingface" / "token"
    user = environ.get("HOME")
    return Path(user) / ".cache" / "huggingface" / "token" if user else None


def _unreachable(url: str, error: httpx.HTTPError) -> WeightsError:
    why = str(error) or type(error).__name__
    return WeightsError(f"{_plain(url)} could not be reached: {why}.", OFFLINE_HINT)


def _plain(url: str) -> str:
    """A URL without its query, which contains the secret of a signed URL."""
    return url.partition("?")[0]


def _version() -> str:
    try:
        return version("modelfleet")
    except PackageNotFoundError:
        return "unknown"
