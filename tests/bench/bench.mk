# The peers of `make bench`. One whose library is not here is not built, and the bench goes without.
PEERS := $(patsubst tests/bench/%.c,build/bench/%,$(wildcard tests/bench/peer_*.c tests/bench/load_*.c))

# Solutions of exercises that are measured beside their chapter.
SOLUTIONS := $(foreach id,6-4 6-10,build/bench/$(id)/06-epoll/server)

.PHONY: bench
bench: all helpers $(PEERS) $(SOLUTIONS) build/bench/peer_net ## measure 03 to 08 beside others (15 minutes; QUICK=1 tries it out)
	@tests/bench/run
bench: build/pictures/load_histogram

HEADER_peer_libuv    = uv.h
LIBS_peer_libuv      = -luv
HEADER_peer_libevent = event2/event.h
LIBS_peer_libevent   = -levent
HEADER_peer_libevent_tls = event2/bufferevent_ssl.h
LIBS_peer_libevent_tls = -levent_openssl -levent -lssl -lcrypto
LIBS_load_tls = -lssl -lcrypto
build/bench/peer_libevent_tls: TOOL += -DCERTS=$(call quoted,"$(KIT)/08-tls/certs")

build/bench/%: tests/bench/%.c $$(call named_parts,tests/bench/$$*.c) $(HEADERS)
	@mkdir -p $(@D)
	@if echo '#include <$(or $(HEADER_$*),errno.h)>' | $(CC) -E - >/dev/null 2>&1; then \
	  set -x; $(TOOL) $(filter %.c,$^) -o $@ -pthread $(LIBS_$*); \
	else echo 'bench: $(HEADER_$*) is missing, so $* is not built (make setup)'; fi

HEADER_6-10 = liburing.h
LIBS_6-10   = -luring

build/bench/6-%/06-epoll/server: $$(wildcard 06-epoll/exercises/$$*-*/solution.patch) \
    $(wildcard 06-epoll/*.[ch]) util.h
	@rm -rf build/bench/6-$*
	@mkdir -p $(@D)
	@cp util.h build/bench/6-$*/
	@cp 06-epoll/*.[ch] 06-epoll/Makefile $(@D)/
	@patch -s -p1 --fuzz=0 -d $(@D) <$<
	@if echo '#include <$(or $(HEADER_6-$*),errno.h)>' | $(CC) -E - >/dev/null 2>&1; then \
	  $(MAKE) --no-print-directory -C $(@D) server LDLIBS='$(LIBS_6-$*)'; \
	else echo 'bench: $(HEADER_6-$*) is missing, so 6-$* is not measured (make setup)'; fi

build/bench/peer_net: tests/bench/peer_net.go
	@mkdir -p $(@D)
	@if command -v go >/dev/null; then \
	  set -x; GO111MODULE=off GOCACHE='$(CURDIR)/build/bench/go' go build -o $@ $<; \
	else echo 'bench: go is missing, so peer_net is not built (SETUP_EXTRA=ci make setup)'; fi
