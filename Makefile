# All a newcomer needs is `make demo` and `make test`; both set up .venv first.
PYTHON := .venv/bin/python
CODE := featureinterp training scripts paper_figs benchmarks examples tests

.PHONY: help setup demo test check clean

help:
	@echo "make demo    explain 24 features of the embedded model and write the page to look at"
	@echo "make test    run all tests, those of the pages in a Chromium"
	@echo "make check   format, lint, types, import rules and the fast tests with coverage"
	@echo "make clean   remove what runs, tests and builds left behind (not .venv)"

setup:
	@bash setup.sh

demo: setup
	.venv/bin/featureinterp demo --features 24 --out runs/demo --seed 0

test: setup
	@$(PYTHON) -m tests.report.chromium
	$(PYTHON) -m pytest

check: setup
	$(PYTHON) -m ruff format --check $(CODE)
	$(PYTHON) -m ruff check $(CODE)
	$(PYTHON) -m pyright
	.venv/bin/lint-imports
	$(PYTHON) -m pytest -m "not slow and not browser" --cov --cov-report=term

clean:
	rm -rf runs/demo dist build htmlcov .coverage .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
