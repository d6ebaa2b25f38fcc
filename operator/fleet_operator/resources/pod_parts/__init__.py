"""Parts of a pod template that only some models have: devices, image volumes, node caches."""
