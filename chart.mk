# The Helm chart, included by the Makefile.

CHART := charts/modelfleet

.PHONY: chart install-yaml chart-package
chart: env-dev ## Copy shared files into charts/modelfleet, generate its README and schema
	cp crds/inferencemodels.modelfleet.dev.yaml $(CHART)/files/
	@mkdir -p build
	$(BIN)/modelfleet crd --policy > build/pod-templates.yaml
	mv build/pod-templates.yaml $(CHART)/files/pod-templates.yaml
	cp operator/rbac.yaml $(CHART)/files/operator-rbac.yaml
	cp services/fleet_router/rbac.yaml $(CHART)/files/router-rbac.yaml
	cp docs/samples/english.ogg $(CHART)/files/english.ogg
	PYTHONPATH=tests $(BIN)/python -m support.chart_schema
	PYTHONPATH=tests $(BIN)/python -m support.dashboards
	@mkdir -p build
	PYTHONPATH=tests $(BIN)/python -m support.chart_readme > build/chart.md && mv build/chart.md $(CHART)/README.md

# With the helm of tests/cluster, which is built with Go if it is missing.
install-yaml: chart ## Render charts/install.yaml
	PYTHONPATH=tests/cluster:tests $(BIN)/python -m harness.install_file

# SOURCE_URL: where the source code of the published chart is, https://...
chart-package: chart ## Package the chart into build/, with SOURCE_URL as its `sources`
	PYTHONPATH=tests/cluster:tests $(BIN)/python -m harness.chart_package $(SOURCE_URL)
