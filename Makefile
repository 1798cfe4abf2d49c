# make demo   sets everything up and shows the main job
# make test   sets everything up and passes the tests
# make bench  measures it
# make acceptance  boots Debian 12 and 13 and tells the whole story on them; some minutes
# make install, make uninstall  as root, on this machine (PREFIX, DESTDIR; PURGE=1: state too)
# make deb    builds a Debian package in dist/
# make torture  kills it hundreds of times, has each part of the system fail, rotates logs a thousand
#               times each way, under load; prints what came of it; some minutes
# make fuzz   looks for bytes that break the readers of logs, lists, questions and settings
# make audit-deps  asks PyPI for known holes in the libraries that a release carries; make lock
#               pins their newest versions

PYTHON ?= python3

# Tests run side by side, a module a worker; they wait for servers more than they work.
JOBS ?= $(shell expr $$(nproc) + 1)
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := postfix postfix-lmdb dovecot-pop3d dovecot-imapd systemd-journal-remote git iproute2 openssl strace \
    libfaketime

# What popgate exports to, and a browser for its report; the tests run them.
PROGRAMS := rspamd spamassassin opendkim miltertest fail2ban nftables chromium man-db

# What boots machines.
MACHINES := debootstrap systemd-container

# Where make install puts it. With DESTDIR nothing is started, and no user is made.
PREFIX ?= /opt/popgate
BINDIR ?= /usr/local/bin
MANDIR ?= /usr/local/share/man
LIBDIR ?= /usr/local/lib

# Seconds that make fuzz gives each target.
FUZZ_SECONDS ?= 120

.PHONY: setup servers programs demo test acceptance torture lint bench docs clean deb install \
    uninstall fuzz lock audit-deps

setup: $(VENV)/.made servers

$(VENV)/.made: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "popgate needs Python 3.11 or later: make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || lab/install-servers python3-venv
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Debian's servers, when they are missing and we may install them; the packages' own services are
# not started.
servers:
	@lab/install-servers $(PACKAGES)

programs:
	@lab/install-servers $(PROGRAMS)

demo: setup
	@$(BIN)/python -m lab.demo

test: setup programs lint
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadscope

acceptance: setup deb
	@lab/install-servers $(MACHINES)
	@POPGATE_DEB=$$(ls dist/popgate_*.deb) $(BIN)/python -m lab.acceptance

deb: $(VENV)/.made
	@rm -f dist/popgate_*.deb
	@packaging/build-deb $(BIN)/python dist

install:
	@PYTHON=$(PYTHON) DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) BINDIR=$(BINDIR) LIBDIR=$(LIBDIR) \
	    MANDIR=$(MANDIR) packaging/install

uninstall:
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) BINDIR=$(BINDIR) LIBDIR=$(LIBDIR) MANDIR=$(MANDIR) \
	    PURGE=$(PURGE) packaging/uninstall

torture: setup
	@$(BIN)/python -m pytest -m 'torture or fault'

fuzz: $(VENV)/.made
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@for target in scanner journal trusted policy config; do \
	    $(BIN)/python -m tests.fuzz $$target $(FUZZ_SECONDS) || exit 1; done

$(VENV)/.release: $(VENV)/.made
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[release]'
	@touch $@

lock: $(VENV)/.release
	@packaging/lock $(BIN)/uv

# What cannot be asked about is a failure too.
audit-deps: $(VENV)/.release
	@$(BIN)/python -m pip_audit --strict --require-hashes --disable-pip --requirement requirements.lock

lint: $(VENV)/.made
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

bench: setup
	@lab/install-servers fail2ban ripgrep sshguard postfix-cdb
	@$(BIN)/python -m bench

# docs/configuration.md and the manual pages are made from settings and commands; a test holds them
# against these.
docs: $(VENV)/.made
	@$(BIN)/python -c 'from tracker.config import reference; print(reference(), end="")' \
	    > docs/configuration.md
	@$(BIN)/python -m lab.manual docs/man

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
