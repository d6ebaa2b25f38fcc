"""The DaemonSet that downloads weights into the node caches of a profile ahead of time."""
