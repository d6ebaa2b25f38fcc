"""The connection to an API server: address, TLS, credentials and their renewal.

Loaders, exec plugins and transport are those of the `kubernetes` package; its HTTP client is
aiohttp. Sources: kubernetes.io/docs, tasks/run-application/access-api-from-pod,
reference/config-api/kubeconfig.v1 and reference/access-authn-authz/authentication.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException
from kubernetes.aio.config.incluster_config import InClusterConfigLoader
from kubernetes.aio.config.kube_config import KubeConfigLoader, KubeConfigMerger

from fleet_kube.errors import ConfigError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_NAMESPACE = "default"
TOKEN = "BearerToken"  # noqa: S105 (the package's name of the setting)
FILE_SECONDS = 60.0
"""Seconds until token files are read again; they are replaced well before a token expires."""
LIFETIME_USED = 0.8
"""Tokens of exec plugins are renewed after this part of their lifetime."""


class LoadedConfiguration(NamedTuple):
    """What a loader returns: the default namespace, seconds until the next load."""

    namespace: str
    seconds: float


Loader = Callable[[Configuration], Awaitable[LoadedConfiguration]]
"""Fills a configuration; raises ConfigError."""


class Connection:
    """One API server as one user. `load` fills `configuration` again when credentials expire.

    Raises OSError for certificates that cannot be loaded.
    """

    def __init__(
        self,
        configuration: Configuration,
        loaded: LoadedConfiguration | None = None,
        load: Loader | None = None,
    ) -> None:
        self.configuration = configuration
        self.namespace, seconds = loaded or LoadedConfiguration(DEFAULT_NAMESPACE, math.inf)
        self._load = load
        self._due = time.monotonic() + seconds
        self._renewing = asyncio.Lock()
        self._certificate = (configuration.cert_file, configuration.key_file)
        # Watches and workers bound the number of connections, so no limit is set here; proxies are
        # those of the kubeconfig, since HTTPS_PROXY in a pod seldom exempts the API server.
        configuration.connection_pool_maxsize = 0
        configuration.client_session_kwargs = {"trust_env": False}
        # Certificate authorities of clusters often lack extensions that strict mode requires.
        configuration.disable_strict_ssl_verification = True
        self._api = ApiClient(configuration)

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self.configuration.host)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def authorization(self) -> str:
        """Value of the Authorization header, "" for none. Raises ConfigError."""
        if time.monotonic() >= self._due:
            async with self._renewing:
                if time.monotonic() >= self._due:  # no other request has renewed it meanwhile
                    await self._reload()
        return self._current()

    async def renew(self, rejected: str) -> None:
        """Load the credentials again unless they already differ from `rejected`.

        Raises ConfigError.
        """
        async with self._renewing:  # one run of an exec plugin for all requests that need it
            if self._current() == rejected:
                await self._reload()

    async def send(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Any,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send one request; the caller reads or closes the response. Raises aiohttp's errors."""
        sent = await self._api.call_api(method, url, headers, body=body, _request_timeout=limits)
        response: aiohttp.ClientResponse = sent.response
        return response

    def _current(self) -> str:
        # Token files may end with a newline, which a header must not contain.
        return str(self.configuration.api_key.get(TOKEN, "")).strip()

    async def _reload(self) -> None:
        if self._load is None:
            return
        loaded = await self._load(self.configuration)
        self._due = time.monotonic() + loaded.seconds
        # New connections use the renewed client certificate; open ones stay.
        found = (self.configuration.cert_file, self.configuration.key_file)
        if found != self._certificate and found[0]:
            try:
                self._api.rest_client.ssl_context.load_cert_chain(*found)
            except OSError as error:
                raise ConfigError(
                    f"{found[0]}: not a usable client certificate: {error}"
                ) from error
            self._certificate = found


async def connect(
    environ: Mapping[str, str], account: Path = ACCOUNT, context: str | None = None
) -> Connection:
    """Connect with KUBECONFIG if it is set, else the pod's service account, else ~/.kube/config.

    KUBECONFIG may list several files; None is their current context. Nothing is sent yet. Raises
    ConfigError.
    """
    load: Loader
    source = "the pod's service account"
    home = Path(environ.get("HOME", "/")) / ".kube" / "config"
    if named := environ.get("KUBECONFIG", "").strip():
        source, load = named, partial(load_kubeconfig, named, context=context)
    elif environ.get("KUBERNETES_SERVICE_HOST"):
        load = partial(load_service_account, environ, account)
    elif home.exists():
        source, load = str(home), partial(load_kubeconfig, str(home), context=context)
    else:
        raise ConfigError(
            "no cluster: not in a pod, KUBECONFIG is not set, there is no ~/.kube/config"
        )
    configuration = Configuration(host="")
    loaded = await load(configuration)
    try:
        return Connection(configuration, loaded, load)
    except OSError as error:
        raise ConfigError(f"{source}: the certificates cannot be loaded: {error}") from error


async def load_service_account(
    environ: Mapping[str, str], account: Path, configuration: Configuration
) -> LoadedConfiguration:
    """Load the service account that is mounted into a pod. Raises ConfigError."""
    port = environ.get("KUBERNETES_SERVICE_PORT") or "443"
    loader = InClusterConfigLoader(
        token_filename=str(account / "token"),
        cert_filename=str(account / "ca.crt"),
        try_refresh_token=False,  # `Connection` does, for all sources of credentials
        environ={**environ, "KUBERNETES_SERVICE_PORT": port},
    )
    try:
        loader.load_and_set(configuration)
        namespace = (account / "namespace").read_text(encoding="utf-8").strip()
    except (ConfigException, OSError) as error:
        raise ConfigError(f"the pod's service account cannot be read: {error}") from error
    return LoadedConfiguration(namespace, FILE_SECONDS)


async def load_kubeconfig(
    paths: str, configuration: Configuration, context: str | None = None
) -> LoadedConfiguration:
    """Load a context of kubeconfig files, None for the current one; runs its exec plugin. Raises
    ConfigError."""
    try:
        merged = KubeConfigMerger(paths).config
        if merged is None:
            raise ConfigException("no such file")
        loader = KubeConfigLoader(merged, config_base_path=None, active_context=context)
        await loader.load_and_set(configuration)
        chosen = loader.current_context["context"]
    except (
        ConfigException, KeyError, TypeError, AttributeError, ValueError, OSError, yaml.YAMLError
    ) as error:  # fmt: skip
        raise ConfigError(f"{paths}: not a usable kubeconfig: {error}") from error
    if not configuration.host:
        raise ConfigError(f"{paths}: not a usable kubeconfig: the cluster has no server")
    namespace = chosen.get("namespace") or DEFAULT_NAMESPACE
    user = merged["users"].get_with_name(chosen["user"], safe=True) if "user" in chosen else None
    login = (user.value.get("user") or {}) if user is not None else {}
    if "exec" not in login:
        return LoadedConfiguration(namespace, FILE_SECONDS if "tokenFile" in login else math.inf)
    # The loader logs why a plugin failed, and goes on without credentials. The configuration is not
    # checked, since it holds the previous ones.
    if not getattr(loader, "token", None) and not getattr(loader, "cert_file", None):
        command = login["exec"].get("command")
        raise ConfigError(f"{paths}: the exec plugin {command!r} returned no credentials")
    expiry = getattr(loader, "exec_plugin_expiry", None)
    return LoadedConfiguration(namespace, math.inf if expiry is None else seconds_until(expiry))


def seconds_until(expiry: datetime) -> float:
    """When to renew a token that expires at `expiry`, in seconds from now."""
    return max(0.0, LIFETIME_USED * (expiry - datetime.now(UTC)).total_seconds())
