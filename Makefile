# All a newcomer needs is `make demo` and `make test`; both set up .venv first.
PYTHON := .venv/bin/python
CODE := featureinterp training scripts paper_figs benchmarks examples docs tests

# One process per core, at most eight; a file's tests stay together, for they share what they made, and files begin in
# the order of tests/conftest.py: the slow ones first.
PARALLEL := --numprocesses=auto --maxprocesses=8 --dist=loadfile --no-loadscope-reorder

.PHONY: help setup demo test check docs clean

help:
	@echo "make demo    explain 24 features of the embedded model and write the page to look at"
	@echo "make test    run all tests, those of the pages in a Chromium"
	@echo "make docs    build the documentation site into site/, without a network"
	@echo "make check   format, lint, types, import rules and the fast tests with coverage"
	@echo "make clean   remove what runs, tests and builds left behind (not .venv)"

setup:
	@bash setup.sh

demo: setup
	.venv/bin/featureinterp demo --features 24 --out runs/demo --seed 0

# Programs that tests start import the package many times: compiled once, whatever the environment says.
test check: export PYTHONDONTWRITEBYTECODE :=

test: setup
	@$(PYTHON) -m tests.report.chromium
	$(PYTHON) -m pytest $(PARALLEL)

check: setup
	$(PYTHON) -m ruff format --check $(CODE)
	$(PYTHON) -m ruff check $(CODE)
	$(PYTHON) -m pyright
	.venv/bin/lint-imports
	$(PYTHON) -m pytest $(PARALLEL) -m "not slow and not browser" --cov --cov-report=term

docs: setup
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet
	@echo "The documentation: site/index.html"

clean:
	rm -rf runs/demo site dist build htmlcov .coverage .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
