"""The models of a cluster, for `modelfleet status`, `load`, `unload` and `scale`."""
