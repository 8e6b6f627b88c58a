# SPDX-License-Identifier: GPL-3.0-or-later
# The commands of this repository; `make` alone lists them. Each one first sets up
# what is missing on this machine (setup/) and writes only to the build folder,
# to OUT and to the package manager's own places.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Where the demo puts its frames, video and farm data.
OUT ?= demo-output

BUILD := $(or $(CARGO_TARGET_DIR),target)
# Tools that are not system packages. Name a folder in TABLAO_TOOLS to share it between clones.
export TABLAO_TOOLS ?= $(CURDIR)/target/tools
export PATH := $(TABLAO_TOOLS)/bin:$(PATH)
# npm keeps its cache in the build folder too: the home directory stays as it was.
export npm_config_cache := $(TABLAO_TOOLS)/npm-cache
# Blender, its sound library and Chromium write caches and settings where these point.
export XDG_CACHE_HOME := $(TABLAO_TOOLS)/home/cache
export XDG_CONFIG_HOME := $(TABLAO_TOOLS)/home/config
export npm_config_update_notifier := false
export npm_config_fund := false
export npm_config_audit := false

RELEASE := $(BUILD)/release/tablao
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
PACKAGE := tablao-$(VERSION)-$(shell uname -s | tr A-Z a-z)-$(shell uname -m)

.PHONY: help demo test check bench soak conformance package release dashboard \
	setup-demo setup-test setup-check setup-conformance setup-node setup-windows

help:
	@echo "make demo       render a small animated scene on a farm of your own, start to video (OUT=$(OUT))"
	@echo "make test       every test: Rust, the add-on inside Blender, the dashboard in a browser"
	@echo "make check      format, lints, the Windows build, licences and advisories of dependencies"
	@echo "make bench      measure, with stated dimensions, into $(BUILD)/bench/*.json"
	@echo "make conformance  only /api/v3: over 20,000 made-up requests against a release build"
	@echo "make soak       the long versions of the tests: more seeds, kills and sizes"
	@echo "make package    release binary with the dashboard inside, and the add-on's zip, into $(BUILD)/package"
	@echo "make dashboard  build the web page alone; make release builds it into the binary"
	@echo
	@echo "Each sets up what is missing: as root it installs, otherwise it prints the line to run."
	@echo "make setup-demo, setup-test and setup-check do only that part."

demo: setup-demo release
	$(RELEASE) demo --out "$(OUT)"

test: setup-test dashboard
	@.ci/test

check: setup-check
	@.ci/check

# One part at a time, or the two would measure each other; each leaves one JSON file. SIZE=small
# only shows that they work. The measured data lies beside the results, on the same disk.
SIZE ?= full
PARTS ?= $(shell $(RELEASE) bench --list)

bench: setup-demo release
	@mkdir -p $(BUILD)/bench
	@for part in $(PARTS); do \
		$(RELEASE) bench $$part --json --size $(SIZE) --data $(BUILD)/bench > $(BUILD)/bench/$$part.json.part || exit 1; \
		mv $(BUILD)/bench/$$part.json.part $(BUILD)/bench/$$part.json; \
	done
	@echo "results: $(BUILD)/bench/*.json"

soak: setup-test dashboard
	TABLAO_SOAK=1 .ci/test
	tests/simulation/planted.sh

conformance: setup-conformance release
	TABLAO_SOAK=1 TABLAO_BIN="$(CURDIR)/$(RELEASE)" tests/flamenco/tests/run

package: setup-node release
	@rm -rf "$(BUILD)/package/$(PACKAGE)"
	@mkdir -p "$(BUILD)/package/$(PACKAGE)"
	cp $(RELEASE) LICENSE README.md "$(BUILD)/package/$(PACKAGE)/"
	python3 addon/build_zip.py "$(BUILD)/package/$(PACKAGE)/tablao-addon.zip"
	tar -C "$(BUILD)/package" -czf "$(BUILD)/package/$(PACKAGE).tar.gz" $(PACKAGE)
	@echo "package: $(BUILD)/package/$(PACKAGE).tar.gz"

# The page goes into the binary, so it is built first.
release: dashboard
	cargo build --release --locked

dashboard: setup-node dashboard/dist/index.html

DASHBOARD_SOURCES := $(shell find dashboard \( -name node_modules -o -name dist -o -name tests \) -prune -o -type f -print 2>/dev/null)

dashboard/dist/index.html: dashboard/node_modules/.package-lock.json $(DASHBOARD_SOURCES)
	@echo "dashboard: building the page; about 10 seconds"
	@cd dashboard && npm run --silent build
	@touch $@

dashboard/node_modules/.package-lock.json: dashboard/package-lock.json
	@echo "dashboard: fetching its packages; about 20 seconds"
	@cd dashboard && npm ci --loglevel error --no-progress
	@touch $@

setup-demo:
	@setup/demo

setup-test:
	@setup/test

setup-check:
	@setup/check

setup-conformance:
	@setup/conformance

setup-node:
	@setup/node

setup-windows:
	@setup/windows
