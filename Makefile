# The only way things are run here, by people and by continuous integration.
# Everything is installed inside the repository (.venv, web/node_modules), except the browser that the tests drive.

HOST ?= 127.0.0.1
PORT ?= 8000

BIN := .venv/bin
SITE := .build/demo

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check unit e2e bench clean need-python need-node chromium engines

help: ## Show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: need-node .venv/cli ## Build the demo and serve it: make demo PORT=8000 HOST=127.0.0.1
	@rm -rf $(SITE)
	@$(BIN)/durably-wasm build web/demo --out $(SITE)
	@$(BIN)/durably-wasm serve $(SITE) --host $(HOST) --port $(PORT)

test: check unit e2e ## Check, then run every test, in the browser too

check: .venv/dev web/node_modules/installed .build/types/durably ## Lint, formatting, types and import layers, of Python and JavaScript
	@echo "==> ruff";         $(BIN)/ruff check --quiet .
	@echo "==> ruff format";  $(BIN)/ruff format --check --quiet --diff .
	@echo "==> mypy";         $(BIN)/mypy
	@echo "==> lint-imports"; PATH="$(BIN):$$PATH" $(BIN)/lint-imports --no-logo
	@echo "==> tsc";          web/node_modules/.bin/tsc -p web/page && web/node_modules/.bin/tsc -p web/worker

unit: .venv/dev ## The tests that need no browser
	@echo "==> pytest tests"; $(BIN)/pytest tests -n auto --maxprocesses 4

e2e: .venv/dev e2e/react/node_modules/installed chromium engines ## The tests in the browsers
	@echo "==> pytest e2e ($$($(BIN)/python -m e2e.engines))"; $(BIN)/pytest e2e -n auto --maxprocesses 4 --dist worksteal

bench: .venv/bench web/node_modules/installed e2e/bench/node_modules/installed chromium ## Measure on CPython, beside DBOS, and in the browser, beside upstream
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m e2e.bench

clean: ## Remove what was installed and built in the repository
	rm -rf .venv .build web/node_modules e2e/react/node_modules e2e/bench/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# --- What is installed, each once -----------------------------------------------------------------------------

.venv/cli: .venv/bin/python pyproject.toml
	@echo "==> Installing durably_wasm and its command line"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cli]'
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml
	@echo "==> Installing durably_wasm and the development tools"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cli,dev]'
	@touch .venv/cli $@

.venv/bin/python: | need-python
	@echo "==> Creating .venv"
	@python3 -m venv --clear .venv

.venv/bench: .venv/bin/python pyproject.toml
	@echo "==> Installing durably_wasm, the development tools and what the benchmark compares with"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cli,dev,bench]'
	@touch .venv/cli .venv/dev $@

%/node_modules/installed: %/package.json %/package-lock.json | need-node
	@echo "==> Installing the JavaScript packages of $*"
	@cd $* && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# Pages import ./durably/page/index.js, which a built site has; for tsc this link stands in for it.
.build/types/durably:
	@mkdir -p $(@D)
	@ln -sfn ../../web $@

need-python:
	@command -v python3 >/dev/null || { echo "Python 3.11 or newer is needed: there is no python3." >&2; exit 1; }
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: python3 is $$(python3 -V)." >&2; exit 1; }

need-node:
	@for tool in node npm; do command -v $$tool >/dev/null || \
		{ echo "Node.js 20 or newer and its npm are needed: there is no $$tool." >&2; exit 1; }; done

# $(call apt-install,PACKAGES)
define apt-install
{ sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	echo "==> Installing Debian's$(1)"; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; }
endef

chromium:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
		command -v apt-get >/dev/null || { echo "The browser tests need chromium or google-chrome." >&2; exit 1; }; \
		$(call apt-install, chromium); }

# Some of the browser tests run in these too, where they are to be had.
engines:
	@missing=; \
	command -v firefox-esr >/dev/null || missing="$$missing firefox-esr"; \
	command -v WebKitWebDriver >/dev/null || missing="$$missing webkit2gtk-driver"; \
	command -v Xvfb >/dev/null || missing="$$missing xvfb"; \
	[ -z "$$missing" ] || { command -v apt-get >/dev/null && $(call apt-install,$$missing); } || \
		echo "==> Going on without$$missing, which cannot be installed here"
