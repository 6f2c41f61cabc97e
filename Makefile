# Socket Stages. `make help` lists what can be asked for.
#
# A chapter's programs are built where their source is, so that a reader types ./server there.
# Instrumented builds (SAN=…), test helpers and everything else generated go below build/.

CC       ?= cc
STD       = -std=c11 -O2 -g
WARN      = -Wall -Wextra -Wpedantic -Wshadow -Wconversion $(if $(WERROR),-Werror)
SAN      ?=
comma    := ,
ifneq ($(SAN),)
O        := build/$(subst $(comma),-,$(SAN))/
SANFLAGS  = -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
endif
BUILD    := $(or $(O),build/)
# glibc's checks of buffers (feature_test_macros(7)): at level 2, unless CFLAGS asks for another;
# not without optimization, of which glibc warns; and not beside the sanitizers, which see more.
# Some compilers have a level of their own, hence -U.
ASKED     = $(CPPFLAGS) $(CFLAGS)
OPTIMIZE  = $(filter-out -O0,$(lastword -O2 $(filter -O%,$(ASKED))))
CHECKED   = -U_FORTIFY_SOURCE $(if $(OPTIMIZE),-D_FORTIFY_SOURCE=2)
FORTIFY   = $(if $(findstring _FORTIFY_SOURCE,$(ASKED)),,$(CHECKED))
CHECKS    = $(if $(SAN),-U_FORTIFY_SOURCE $(SANFLAGS),$(FORTIFY))
ALL_CFLAGS = $(STD) $(WARN) $(CHECKS) $(CFLAGS) $(CPPFLAGS)

# A chapter's own Makefile builds it: its programs from server.c, client.c and 06's load.c, each
# with the chapter's other .c files.
CHAPTERS := $(sort $(patsubst %/server.c,%,$(wildcard [0-9][0-9]-*/server.c)))
SOURCES  := $(sort $(wildcard $(CHAPTERS:%=%/*.c)))
HEADERS  := util.h $(wildcard $(CHAPTERS:%=%/*.h) tests/unit/*.h)
PROGRAMS := $(patsubst %.c,$(O)%,$(filter %/server.c %/client.c %/load.c,$(SOURCES)))
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)unit/%,$(wildcard tests/unit/*.c))
HELPERS  := $(patsubst tests/helpers/%.c,build/helpers/%,\
  $(filter-out %/tls.c,$(wildcard tests/helpers/*.c)))
SHIM     := build/fault.so
FUZZ_SECONDS ?= 60
FUZZERS  := $(patsubst tests/fuzz/%.c,fuzz-%,$(wildcard tests/fuzz/*.c))
# An exercise is built through a link to this file: the certificates are the kit's, there too.
# Make splits names at spaces, so this path must never be a target or a prerequisite.
KIT      := $(shell dirname "$$(readlink -f Makefile)")
quoted    = '$(subst ','\'',$(1))'
# Documents, exercises and steps have programs of their own, whatever SAN is.
PLAIN    := tests/docs.bats tests/exercises.bats tests/alone.bats tests/steps.bats
# The longest begin first, so that none of them is left at the end.
LONGEST  := $(wildcard tests/docs.bats tests/steps.bats tests/08-tls.bats tests/07-chat.bats)
BATS     := $(LONGEST) $(filter-out $(LONGEST),$(wildcard tests/*.bats))
BATS     := $(filter-out $(if $(SAN),$(PLAIN)),$(BATS))

.PHONY: all help setup doctor tour test test-tools fresh soak fuzz lint format coverage clean certs
.PHONY: book book-pdf steps $(CHAPTERS:%=%/steps) helpers tools stress-tests FORCE
.DELETE_ON_ERROR:
.SUFFIXES:

all: $(PROGRAMS) ## build every chapter (SAN=address,undefined or SAN=thread: below build/)

help: ## this list
	@awk -F ':.*## ' '/^[a-zA-Z0-9%_-]+:.*## / { t = "make " $$1; sub(/ all/, "", t); \
	  sub(/%/, t ~ /step-/ ? "NN-title" : \
	    FILENAME ~ /exercises/ ? t ~ /mystery/ ? "N" : "N-M" : "NN", t); \
	  printf "  %-22s  %s\n", t, $$2 } \
	  /^all:/ { print "  make NN                 build one chapter, as in make 03"; \
	  print "  make NN-name            the same, as in make 03-long-conn" }' \
	  Makefile tests/trace/trace.mk tests/bench/bench.mk tests/exercises/exercises.mk \
	  tests/pictures/pictures.mk

setup: ## install what is missing, with the system's package manager
	@tests/bin/setup

doctor: ## which tools are here, and what each missing one costs
	@tests/bin/doctor

tour: all ## play a short real conversation with every chapter
	@tests/bin/tour $(CHAPTERS)

steps: $(CHAPTERS:%=%/steps) ## build the steps that each chapter begins with

step-diff-%: FORCE ## what a step changed, as in step-diff-01-echo; NN-server: what is left
	@tests/bin/step diff $*

# Builds what it needs of that chapter.
step-%: build/helpers/peer $(SHIM) FORCE ## hostile clients against a step, as in step-01-echo
	@$(MAKE) -s $(firstword $(subst -, ,$*)) $(wildcard $(firstword $(subst -, ,$*))-*/steps)
	@tests/bin/step run $*

play-%: FORCE ## walk through the sessions of a chapter's page, one key for each command
	@tests/bin/play '$*'

test: all helpers steps ## run all of tests/ (TAGS=a,b FILTER=regex JOBS=n narrow it)
	@SAN='$(SAN)' tests/bin/run-tests $(BATS)

test-%: all helpers steps ## run one chapter's tests
	@SAN='$(SAN)' tests/bin/run-tests $(or $(wildcard tests/$*-*.bats),tests/$*-missing.bats)

test-tools: all helpers steps ## the tests of what the tests are made with
	@tests/bin/run-tests $(wildcard tests/tools/*.bats)

fresh: ## README's commands on a new minimal Debian (SUITE=trixie; see tests/bin/fresh -h)
	@tests/bin/fresh '$(SUITE)'

stress-tests: all helpers steps ## each file of tests/, and all, N=10 times, quiet and busy (FILES=)
	@tests/bin/stress-tests $(or $(FILES),$(BATS))

soak: all helpers ## the long runs that `make test` leaves out
	@SAN='$(SAN)' tests/bin/run-tests $(wildcard tests/soak/*.bats)

fuzz: $(FUZZERS) ## attack parsers with random bytes (FUZZ_SECONDS=60 for each; needs clang)

# -I: for what exercise 6-3's solution adds.
fuzz-%: tests/fuzz/%.c build/fuzz/6-3/06-epoll/http.h FORCE
	@mkdir -p build/fuzz/corpus-$*
	clang $(STD) $(WARN) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	  -I build/fuzz/6-3/06-epoll $< $(call named_parts,$<) -o build/fuzz/$*
	build/fuzz/$* -dict=tests/fuzz/$*.dict -max_total_time=$(FUZZ_SECONDS) -max_len=16384 \
	  -timeout=10 -verbosity=0 -print_final_stats=1 -artifact_prefix=build/fuzz/$*- \
	  build/fuzz/corpus-$*

build/fuzz/6-3/06-epoll/http.h: 06-epoll/exercises/3-http/solution.patch $(wildcard 06-epoll/*.[ch])
	@rm -rf build/fuzz/6-3
	@mkdir -p $(@D)
	cp util.h build/fuzz/6-3/
	cp 06-epoll/*.[ch] $(@D)/
	patch -s -p1 --fuzz=0 -d $(@D) <$<

diff-%: ## what is new in this chapter against the one that its header names
	@tests/bin/diff-chapter $*

lint: ## the rules of scripts, code and copies (shellcheck, clang-query, pmccabe …)
	@tests/bin/lint

book: ## the docs beside the code, in a browser: build/book/index.html (needs no server)
	@docs/book/build.py build/book

book-pdf: ## the same as one PDF: build/book.pdf (needs chromium)
	@mkdir -p build
	@docs/book/print.sh build/book.pdf

format: ## lay the C sources out as .clang-format says
	clang-format -i util.h [0-9][0-9]-*/*.[ch] [0-9][0-9]-*/steps/*.c tests/*/*.c

COVERAGE := $(patsubst tests/unit/%.c,build/coverage/unit/%,$(wildcard tests/unit/*.c))
coverage: ## what the unit tests reach of util.h and the parts (gcc, gcovr)
	@$(MAKE) -s BUILD=build/coverage/ CC=gcc CFLAGS='-O0 --coverage' $(COVERAGE)
	@rm -f build/coverage/unit/*.gcda
	@for unit in $(COVERAGE); do \
	  echo "$$unit"; \
	  timeout 120 "$$unit" </dev/null >"$$unit.log" 2>&1 || { cat "$$unit.log"; exit 1; }; \
	done
	gcovr --exclude tests/ --print-summary build/coverage

clean: ## remove everything that was built
	rm -rf build 08-tls/certs $(foreach c,$(CHAPTERS),$(c)/server $(c)/client $(c)/load) \
	  $(patsubst %.c,%,$(wildcard $(CHAPTERS:%=%/steps/*.c)))

# make 01 or make 01-basic-tcp: one chapter.
define chapter_rule
.PHONY: $(1) $(firstword $(subst -, ,$(1)))
$(1) $(firstword $(subst -, ,$(1))): $(filter $(O)$(1)/%,$(PROGRAMS))
endef
$(foreach c,$(CHAPTERS),$(eval $(call chapter_rule,$(c))))
ifneq ($(filter 08-tls,$(CHAPTERS)),)
all 08 08-tls: certs
endif

certs: ## make the certificates of chapter 08, or those of them that expire within a week
	@$(call quoted,$(KIT)/08-tls/certs.sh)

helpers: tools $(UNITS)
tools: $(HELPERS) $(SHIM)

# The flags of the last build, and its sources, are kept in a file that changes only when they do:
# everything depends on it, so a changed flag rebuilds and an unchanged one does not.
$(BUILD)flags: export WORDS = $(CC) $(ALL_CFLAGS) $(LDFLAGS) $(LDLIBS) $(CURDIR) \
  $(SOURCES)
build/tool-flags: export WORDS = $(TOOL) $(CURDIR)
$(BUILD)flags build/tool-flags: FORCE
	@mkdir -p $(@D)
	@echo "$$WORDS" | cmp -s - $@ || echo "$$WORDS" >$@
FORCE:

# The Makefile of the program's chapter decides what is to be done. -q asks first whether anything
# is: it would report that there is nothing. -B: the flags have changed, so everything is. (Beside
# -n, -q says nothing of use.)
ASK_CHAPTER = $(MAKE) --no-print-directory -C $(CHAPTER) OUT=$(if $(O),../$(O)$(CHAPTER)/) \
  CHECKS='$(strip $(CHECKS))' $(if $(filter $(BUILD)flags,$?),-B)
DRY_RUN = $(findstring n,$(filter-out --%,$(firstword -$(MAKEFLAGS))))
TARGET  = $(if $(O),../$@,$(@F))
$(PROGRAMS): CHAPTER = $(patsubst $(O)%/,%,$(dir $@))
$(PROGRAMS): $(BUILD)flags FORCE
	+@$(if $(DRY_RUN),false,$(ASK_CHAPTER) -q $(TARGET) 2>/dev/null) || $(ASK_CHAPTER) $(TARGET)

# One make for the steps of a chapter: they are many. make 01-basic-tcp/steps builds one chapter's.
$(CHAPTERS:%=%/steps): %/steps: $(BUILD)flags
	+@$(MAKE) --no-print-directory -C $* OUT=$(if $(O),../$(O)$*/) CHECKS='$(strip $(CHECKS))' \
	  FLAGS_FILE=../$(BUILD)flags steps

$(O)08-tls/%: export CERTS = $(KIT)/08-tls/certs

.SECONDEXPANSION:
# What a program of the tests is compiled with, from a line of its own: /* parts: 06-epoll/loop.c */
named_parts = $(shell sed -n 's,^/\* parts: \(.*\) \*/$$,\1,p' $(1))

# Compilers may leave out a malloc whose memory is not used. There are tests of one that fails.
OWN_MALLOC := -fno-builtin-malloc -fno-builtin-calloc

# One that needs a part's statics includes its .c file, so all sources are prerequisites. In two
# steps, as gcc names its notes on coverage after the file: a test and its part have one name.
$(UNITS): $(BUILD)unit/%: tests/unit/%.c $(SOURCES) $(HEADERS) $(BUILD)flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(OWN_MALLOC) -pthread -c $< -o $@.o
	$(CC) $(ALL_CFLAGS) $(OWN_MALLOC) $@.o $(call named_parts,$<) -o $@ \
	  $(LDFLAGS) -pthread -lcunit $(LDLIBS)

# Helpers and the shim are tools of the tests, never instrumented themselves.
TOOL = $(CC) $(STD) $(WARN) $(FORTIFY) $(CFLAGS)
$(HELPERS): build/helpers/%: tests/helpers/%.c util.h build/tool-flags
	@mkdir -p $(@D)
	$(TOOL) $(filter %.c,$^) -o $@ -pthread $(LDLIBS)
build/helpers/peer: tests/helpers/tls.c tests/helpers/tls.h
build/helpers/peer: LDLIBS += -lssl -lcrypto

$(SHIM): tests/shim/fault.c build/tool-flags
	@mkdir -p $(@D)
	$(TOOL) -fPIC -shared $< -o $@ -ldl -pthread

include tests/bench/bench.mk
include tests/trace/trace.mk
include tests/exercises/exercises.mk
include tests/pictures/pictures.mk
