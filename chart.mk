# The Helm chart, included by the Makefile.

CHART := charts/modelfleet

.PHONY: chart
chart: ## Copy shared files into charts/modelfleet (a test compares them)
	cp crds/inferencemodels.modelfleet.dev.yaml $(CHART)/crds/
	$(BIN)/modelfleet crd --policy > build/pod-templates.yaml
	mv build/pod-templates.yaml $(CHART)/files/pod-templates.yaml
	cp operator/rbac.yaml $(CHART)/files/operator-rbac.yaml
	cp services/fleet_router/rbac.yaml $(CHART)/files/router-rbac.yaml
	cp docs/samples/english.ogg $(CHART)/files/english.ogg
