# SPDX-License-Identifier: GPL-2.0
#
# "make help" lists the targets. Each target installs the packages that it needs and
# does the whole job. The scripts in scripts/ do the work, one verb each.

VARIANT ?=
SUITE ?=
TEST ?=
LIST ?=
PART ?=
MINUTES ?=
KSRC ?=
KDIR ?=
UNDO ?=
V ?= 0
export KSRC V

.DEFAULT_GOAL := help
# The targets share build/. Long steps are parallel inside.
.NOTPARALLEL:
.PHONY: help run check soak bench model docs kernel shell ide apply clean

help:
	@echo "make run                            build, boot, show the device at work"
	@echo "make check [SUITE=a,b] [VARIANT=x]  run the tests; by default all that CI runs"
	@echo "make check TEST=GLOB [SUITE=a] [LIST=1]"
	@echo "                                    run the tests whose name matches, or list them"
	@echo "make soak MINUTES=N [VARIANT=x]     run the suite coherence for N minutes"
	@echo "make bench [PART=a,b]               compare walker, page table and faults with 6.12"
	@echo "make model                          search the model of the protocol, and its mutations"
	@echo "make docs                           HTML of the documents"
	@echo "make kernel [VARIANT=x]             build a kernel and its initramfs"
	@echo "make shell [VARIANT=x]              a shell in the guest (Ctrl-a x leaves)"
	@echo "make ide [VARIANT=x]                compile_commands.json for clangd, after make kernel"
	@echo "make apply KDIR=TREE [UNDO=1]       install our files into your own 6.12 tree, or remove"
	@echo "                                    them and put its own files back"
	@echo "make clean                          remove build/"
	@echo
	@echo "Variants: release (fast; the default of run, kernel and shell), debug,"
	@echo "peer (release with 6.12's own walker in addition to ours, for bench)."
	@echo "KSRC=TREE builds from another clean 6.12.y tree; V=1 shows all output."

run:
	@scripts/need build boot
	@scripts/run $(or $(VARIANT),release)

check:
	@SUITE="$(SUITE)" VARIANT="$(VARIANT)" TEST="$(TEST)" LIST="$(LIST)" \
		$(if $(TEST),scripts/test,scripts/check)

soak:
	@MINUTES="$(MINUTES)" VARIANT="$(VARIANT)" scripts/soak

bench:
	@PART="$(PART)" scripts/bench

model:
	@scripts/model

docs:
	@scripts/docs

kernel:
	@scripts/need build boot
	@scripts/kernel $(or $(VARIANT),release)
	@scripts/initramfs $(or $(VARIANT),release)

shell: kernel
	@scripts/boot $(or $(VARIANT),release) --interactive \
		--append "memmap=512M%0x100000000-1+0xefffffff quiet"

ide:
	@scripts/ide $(VARIANT)

apply:
	@test -n "$(KDIR)" || { echo "make apply: name your tree: make apply KDIR=/path/to/linux" >&2; exit 2; }
	@scripts/need apply
	@scripts/overlay $(if $(UNDO),--undo) "$(KDIR)"

clean:
	rm -f build/linux.from
	rm -rf build

.DEFAULT:
	@echo "make: there is no target '$@'; 'make help' lists them" >&2; exit 2
