# The pictures of the docs. Each is drawn from a file of text beside it: a table of states, or what
# a run has measured. `make pictures` draws them anew, `make measure-…` runs the programs again.

DRAW := python3 -B tests/pictures
CHART = $(DRAW)/charts.py $(1) $< $@
CHART_PROGRAM := tests/pictures/charts.py tests/pictures/svg.py

.PHONY: pictures pictures-states pictures-stages pictures-charts pictures-terminal
pictures: pictures-states pictures-stages pictures-charts pictures-terminal

pictures-states: $(patsubst %,docs/pictures/%-states.svg,05 06 07 08)
docs/pictures/%-states.svg: docs/pictures/%-states.txt tests/pictures/states.py \
  tests/pictures/svg.py
	$(DRAW)/states.py draw $< $@

pictures-stages: docs/pictures/stages.svg
docs/pictures/stages.svg: tests/pictures/stages.dot tests/pictures/svg.py
	$(DRAW)/svg.py $< $@

# `make bench` writes and draws those of the benchmarks, too.
pictures-charts: $(patsubst %,docs/pictures/%.svg,06-latency 06-memory 07-queue)
pictures-charts: $(patsubst %,docs/pictures/bench-%.svg,cpu rate p99)
docs/pictures/06-%.svg: docs/pictures/06-%.csv $(CHART_PROGRAM)
	$(call CHART,$*)
docs/pictures/07-%.svg: docs/pictures/07-%.csv $(CHART_PROGRAM)
	$(call CHART,$*)
# Where `make bench` has measured that one:
pictures-charts: $(patsubst %.csv,%.svg,$(wildcard docs/pictures/chat-members.csv))
docs/pictures/chat-members.svg: docs/pictures/chat-members.csv $(CHART_PROGRAM)
	$(call CHART,chat-members)
docs/pictures/bench-%.svg: docs/pictures/bench.csv $(CHART_PROGRAM)
	$(call CHART,bench-$*)

pictures-terminal: docs/pictures/07-terminal.svg
docs/pictures/07-terminal.svg: docs/pictures/07-terminal.txt tests/pictures/terminal.py \
  tests/pictures/svg.py
	$(DRAW)/terminal.py $< $@

# What charts show is measured again only on demand, as each machine gives other figures.
.PHONY: measure-memory measure-queue measure-latency record-terminal
measure-memory: all build/bench/peer_thread
	$(DRAW)/measure.py memory docs/pictures/06-memory.csv

measure-queue: build/pictures/queue_probe
	$(DRAW)/measure.py queue docs/pictures/07-queue.csv

measure-latency: all build/bench/peer_thread build/pictures/load_histogram
	$(DRAW)/measure.py latency docs/pictures/06-latency.csv

record-terminal: all
	tests/pictures/terminal.sh 07-chat/server 07-chat/client >docs/pictures/07-terminal.txt

# Each includes the program that it looks into, and is compiled with that program's parts.
build/pictures/queue_probe: PARTS_OF = $(filter-out \
  %/client.c %/display.c %/keys.c %/people.c %/server.c %/terminal.c,$(wildcard 07-chat/*.c))
build/pictures/load_histogram: PARTS_OF = 06-epoll/loop.c 06-epoll/requests.c
build/pictures/%: tests/pictures/%.c $(SOURCES) $(HEADERS) build/tool-flags
	@mkdir -p $(@D)
	$(TOOL) $< $(PARTS_OF) -o $@
