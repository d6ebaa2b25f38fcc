"""`modelfleet adopt`: manifests of models that other tools hold on this machine."""
