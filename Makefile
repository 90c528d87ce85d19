# imggen: `make run` is the first thing to type. Every target creates .venv on first use.
# PYTHON=python3.12 make run   chooses the Python; otherwise the first of 3.11, 3.12, 3.13 that is found is taken.

SHELL := bash
VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/installed
WORKERS ?= 2
CANDIDATES := $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python)

.PHONY: help install run test fuzz torture lab bench studio labs export clean
.DEFAULT_GOAL := help

help:
	@echo "make run      install, then draw data/wireframe.svg from noise: chapters 02 and 01 (about 4 minutes)"
	@echo "make lab      open the labs in JupyterLab"
	@echo "make test     run every test, and every notebook at smoke scale (about 10 minutes; WORKERS=4 with four cores or more)"
	@echo "make torture  kill every chapter's training, KILLS=1000 times, and compare the ends (hours)"
	@echo "make fuzz     spoil what strangers may give, for MINUTES=60, and see that each is taken or refused in one sentence"
	@echo "make bench    measure the chapters' criteria (long)"
	@echo "make install  only create .venv"
	@echo "make export   nbs/*.ipynb -> imggen_core/*.py"
	@echo "make labs     lessons/solutions/*.ipynb -> lessons/*.ipynb"

# $(call install,WHAT) installs the tested versions with uv, in a fraction of pip's time; what keeps uv from it, pip does. Either goes on where it was stopped.
# uv reads none of pip's settings: it is handed those that say where packages come from, so that nobody's mirror is passed by. Its own variables win.
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOG := $(VENV)/install.log
PIP_TO_UV := index-url=UV_DEFAULT_INDEX extra-index-url=UV_EXTRA_INDEX_URL find-links=UV_FIND_LINKS \
    cert=SSL_CERT_FILE client-cert=SSL_CLIENT_CERT trusted-host=UV_INSECURE_HOST proxy=ALL_PROXY

define install
set -o pipefail; settings=$$($(PIP) config list 2>/dev/null | sed -n '/^:env:/p; /^install/p; s/^global/the rest/p' | sort); \
for pair in $(PIP_TO_UV); do \
    value=$$(sed -n "s/^[^=]*\.$${pair%=*}='\(.*\)'$$/\1/p" <<<"$$settings" | sed '1!d; s/\\n/ /g'); \
    if [ -n "$$value" ]; then eval ": \$${$${pair#*=}:=\$$value}; export $${pair#*=}"; fi; \
done; \
if ! { [[ $$settings != *.no-index=* ]] && $(PIP) install -q -c constraints.txt uv >$(LOG) 2>&1 \
        && UV_INDEX_STRATEGY=unsafe-best-match $(BIN)/python -m uv pip install -p $(BIN)/python -c constraints.txt -e '$1'; }; then \
    echo "uv cannot install here: pip does, which takes longer (log: $(LOG))"; \
    $(PIP) install --no-compile --progress-bar off -c constraints.txt -e '$1' 2>&1 | tee -a $(LOG) \
        | awk '/^ *ERROR/ || /\([0-9.]+ [MG]B\)/ {sub(/^ +/, ""); print "  " $$0; fflush()} /^Installing collected/ {print "  Unpacking"; fflush()} \
            /WARNING: Retrying/ && !told++ {print "  The package index does not answer; trying again"; fflush()}' \
        || { echo "make: the installation did not finish: see $(LOG); the same command goes on where it stopped" >&2; exit 1; }; \
fi
endef

install: $(STAMP)

# The stamp is written last, so that an interrupted installation goes on at the next `make`.
$(STAMP): pyproject.toml constraints.txt
	@python=; found=; \
	for candidate in $(CANDIDATES); do \
	    version=$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    found="$$found $$candidate ($$version)"; \
	    case $$version in 3.11|3.12|3.13) ;; *) continue ;; esac; \
	    if "$$candidate" -c 'import venv, ensurepip' 2>/dev/null; then python=$$candidate; break; fi; \
	    found="$$found without the venv module (apt install python$$version-venv)"; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "make: needs Python 3.11, 3.12 or 3.13; found:$${found:- none} - install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    echo "Creating $(VENV) with $$python $$version"; "$$python" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing into $(VENV): PyTorch and what the course needs (once: 3 GB to download, 6 GB on disk)"
	@$(call install,.[test])
	@touch $@

run: $(STAMP)
	@$(BIN)/imggen run strokes
	@$(BIN)/imggen run wireframe

# As many workers as cores. A file's tests, or a notebook's, stay with one worker (tests/conftest.py), and so does what they share.
test: $(STAMP)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

# Started again it goes on; its counts are in runs/torture/counts.json.
torture: $(STAMP)
	@PYTHONPATH=. $(BIN)/python tests/torture.py --kills $(or $(KILLS),1000)

fuzz: $(STAMP)
	@cd tests && PYTHONPATH=.. ../$(BIN)/python -m fuzz --minutes $(or $(MINUTES),60)

lab: $(STAMP)
	@$(BIN)/imggen lab

bench: $(STAMP)
	@$(call install,.[bench])
	@$(BIN)/python -m pytest -s -o addopts= -o python_files='test_*.py bench_*.py' tests/benchmarks

studio:
	@echo "make studio: not yet - the app comes with a later part of the course; the labs are there: make lab"

labs: $(STAMP)
	@$(BIN)/imggen labs

export: $(STAMP)
	@$(BIN)/nbdev-export

clean:
	rm -rf $(VENV) build ./*.egg-info
