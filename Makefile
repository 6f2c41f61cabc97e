# Socket Stages. `make help` lists what can be asked for.
#
# A chapter's programs are built where their source is, so that a reader types ./server there.
# Instrumented builds (SAN=…), test helpers and everything else generated go below build/.

CC       ?= cc
STD       = -std=c11 -O2 -g
WARN      = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
FORTIFY   = -D_FORTIFY_SOURCE=2
SAN      ?=
comma    := ,
ifneq ($(SAN),)
O        := build/$(subst $(comma),-,$(SAN))/
FORTIFY   =
SANFLAGS  = -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
endif
BUILD    := $(or $(O),build/)
ALL_CFLAGS = $(STD) $(WARN) $(FORTIFY) $(SANFLAGS) $(CFLAGS)

CHAPTERS := $(sort $(patsubst %/server.c,%,$(wildcard [0-9][0-9]-*/server.c)))
PROGRAMS := $(foreach c,$(CHAPTERS),$(O)$(c)/server $(O)$(c)/client)
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)unit/%,$(wildcard tests/unit/*.c))
HELPERS  := $(patsubst tests/helpers/%.c,build/helpers/%,$(wildcard tests/helpers/*.c))
SHIM     := build/fault.so
FUZZ_SECONDS ?= 60
# An exercise is built through a link to this file: the certificates are the kit's, there too.
KIT      := $(dir $(realpath Makefile))
# Documents and exercises build and run programs of their own, whatever SAN is.
PLAIN    := tests/docs.bats tests/exercises.bats
BATS     := $(filter-out $(if $(SAN),$(PLAIN)),$(wildcard tests/*.bats))

.PHONY: all help setup doctor tour test test-tools soak fuzz lint format coverage clean certs
.PHONY: helpers FORCE
.DELETE_ON_ERROR:
.SUFFIXES:

all: $(PROGRAMS) ## build every chapter (SAN=address,undefined or SAN=thread: below build/)

help: ## this list
	@awk -F ':.*## ' '/^[a-zA-Z0-9%_-]+:.*## / { t = "make " $$1; sub(/ all/, "", t); \
	  sub(/%/, FILENAME ~ /exercises/ ? t ~ /mystery/ ? "N" : "N-M" : "NN", t); \
	  printf "  %-20s  %s\n", t, $$2 } \
	  /^all:/ { print "  make NN               build one chapter, as in make 03"; \
	  print "  make NN-name          the same, as in make 03-long-conn" }' \
	  Makefile tests/bench/bench.mk tests/exercises/exercises.mk

setup: ## install what is missing, with the system's package manager
	@tests/bin/setup

doctor: ## which tools are here, and what each missing one costs
	@tests/bin/doctor

tour: all ## play a short real conversation with every chapter
	@tests/bin/tour $(CHAPTERS)

test: all helpers ## run all of tests/ (TAGS=a,b FILTER=regex JOBS=n narrow it)
	@SAN='$(SAN)' tests/bin/run-tests $(BATS)

test-%: all helpers ## run one chapter's tests
	@SAN='$(SAN)' tests/bin/run-tests $(or $(wildcard tests/$*-*.bats),tests/$*-missing.bats)

test-tools: all helpers ## the tests of what the tests are made with
	@tests/bin/run-tests $(wildcard tests/tools/*.bats)

soak: all helpers ## the long runs that `make test` leaves out
	@SAN='$(SAN)' tests/bin/run-tests $(wildcard tests/soak/*.bats)

fuzz: ## attack chapter 07's room with random bytes (FUZZ_SECONDS=60; needs clang)
	@mkdir -p build/fuzz/corpus
	clang $(STD) $(WARN) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	  tests/fuzz/room.c -o build/fuzz/room
	build/fuzz/room -dict=tests/fuzz/room.dict -max_total_time=$(FUZZ_SECONDS) -max_len=4096 \
	  -timeout=10 -verbosity=0 -print_final_stats=1 -artifact_prefix=build/fuzz/ build/fuzz/corpus

diff-%: ## what this chapter changed against the one before
	@tests/bin/diff-chapter $*

lint: ## shellcheck, clang-format, cppcheck
	@tests/bin/lint

format: ## lay the C sources out as .clang-format says
	clang-format -i util.h [0-9][0-9]-*/*.[ch] tests/*/*.c

coverage: ## what the unit tests reach of the pure parts, by gcov
	@tests/bin/coverage

clean: ## remove everything that was built
	rm -rf build 08-tls/certs $(foreach c,$(CHAPTERS),$(c)/server $(c)/client)

# make 01 or make 01-basic-tcp: one chapter.
define chapter_rule
.PHONY: $(1) $(firstword $(subst -, ,$(1)))
$(1) $(firstword $(subst -, ,$(1))): $(O)$(1)/server $(O)$(1)/client
endef
$(foreach c,$(CHAPTERS),$(eval $(call chapter_rule,$(c))))
ifneq ($(filter 08-tls,$(CHAPTERS)),)
all 08 08-tls: certs
endif

certs: ## make the certificates of chapter 08, or those of them that expire within a week
	@$(KIT)08-tls/certs.sh

helpers: $(HELPERS) $(SHIM) $(UNITS)

# The flags of the last build are kept in a file that changes only when they do:
# everything depends on it, so a changed flag rebuilds and an unchanged one does not.
$(BUILD)flags: WORDS = $(CC) $(ALL_CFLAGS) $(LDFLAGS) $(CURDIR)
build/tool-flags: WORDS = $(TOOL)
$(BUILD)flags build/tool-flags: FORCE
	@mkdir -p $(@D)
	@echo '$(WORDS)' | cmp -s - $@ || echo '$(WORDS)' >$@
FORCE:

COMPILE = $(CC) $(ALL_CFLAGS) $(CPPFLAGS) -MMD -MP -MF $(BUILD)deps/$(subst /,_,$@).d

$(PROGRAMS): $(O)%: %.c $(BUILD)flags
	@mkdir -p $(@D) $(BUILD)deps
	$(COMPILE) $< -o $@ $(LDFLAGS) $(LDLIBS)

$(O)04-threadpool/%: LDLIBS += -pthread
$(O)07-chat/client: LDLIBS += -ledit
$(O)08-tls/%: CPPFLAGS += -DCERTS='"$(KIT)08-tls/certs"'
$(O)08-tls/%: LDLIBS += -lssl -lcrypto
$(BUILD)unit/%: LDLIBS += -pthread

$(UNITS): $(BUILD)unit/%: tests/unit/%.c $(BUILD)flags
	@mkdir -p $(@D) $(BUILD)deps
	$(COMPILE) $< -o $@ $(LDFLAGS) -lcunit $(LDLIBS)

# Helpers and the shim are tools of the tests, never instrumented themselves.
TOOL = $(CC) $(STD) $(WARN) -D_FORTIFY_SOURCE=2 $(CFLAGS)
$(HELPERS): build/helpers/%: tests/helpers/%.c util.h build/tool-flags
	@mkdir -p $(@D)
	$(TOOL) $< -o $@ -pthread $(LDLIBS)
build/helpers/peer: tests/helpers/peer_tls.h
build/helpers/peer: LDLIBS += -lssl -lcrypto

$(SHIM): tests/shim/fault.c build/tool-flags
	@mkdir -p $(@D)
	$(TOOL) -fPIC -shared $< -o $@ -ldl -pthread

include tests/bench/bench.mk
include tests/exercises/exercises.mk

-include $(wildcard $(BUILD)deps/*.d)
