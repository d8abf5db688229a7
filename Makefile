# The front door. `make help` lists what there is. Meson and Ninja do the building (below build/), the
# scripts in scripts/ the rest.

PREFIX  ?= /usr/local
DESTDIR ?=
ARGS    ?=
DURATION ?=

# Which files `make format` formats and `make test` checks: scripts/format --list.

.PHONY: all build run test bench windows windows-sign fuzz soak install format docs clean help
.DEFAULT_GOAL := all

all: build
	@echo 'the programs are in build/bin'

build:
	@scripts/packages build
	@scripts/build release

run:
	@scripts/packages build
	@scripts/build programs
	@scripts/run $(ARGS)

test:
	@scripts/packages test
	@scripts/test $(ARGS)

bench: build
	@bench/run.sh $(ARGS)

windows:
	@scripts/packages windows
	@scripts/windows

windows-sign: windows
	@scripts/windows-sign

fuzz:
	@scripts/packages test
	@scripts/build fuzz
	@scripts/fuzz $(or $(DURATION),600)

soak: build
	@tests/e2e/soak.py --seconds $(or $(DURATION),3600) $(ARGS)

install: build
	@echo 'the programs are in build/bin'
	@meson configure build/release -Dprefix='$(PREFIX)'
	@DESTDIR='$(DESTDIR)' meson install -C build/release --quiet

format:
	@scripts/format

docs: build
	@build/release/docs/probes_page > docs/probes.md

clean:
	rm -rf build

help:
	@echo 'make            build; the programs are then in build/bin'
	@echo 'make run        build, start the sensor and print live events until Ctrl-C'
	@echo '                ARGS="..." goes to ntfltmgr: make run ARGS="--format text"'
	@echo 'make test       every test; the last line counts passed, failed and skipped'
	@echo '                ARGS="--only release" and so on: scripts/test --help'
	@echo 'make bench      measure; results go to bench/results'
	@echo 'make windows    cross-build the Windows driver package, reader and library; below build/windows'
	@echo 'make windows-sign   the same, signed with a test certificate'
	@echo 'make fuzz       run each fuzzer for DURATION=600'
	@echo 'make soak       watch a busy machine with readers that fail, for DURATION=3600'
	@echo 'make install    install below PREFIX=/usr/local (DESTDIR=... for packagers)'
	@echo 'make format     format the C files'
	@echo 'make docs       write docs/probes.md anew from the table of events'
	@echo 'make clean      remove build/'
	@echo 'make, make run and make test install Debian packages that are missing (scripts/packages).'
