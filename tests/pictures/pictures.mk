# The pictures of the docs. Each is drawn from a file of text beside it: a table of states, or what a
# run has measured. `make pictures` draws them anew, and `make measure-…` runs the programs again.

DRAW := python3 -B tests/pictures

.PHONY: pictures pictures-states pictures-stages
pictures: pictures-states pictures-stages

pictures-states: $(patsubst %,docs/pictures/%-states.svg,05 06 07 08)
docs/pictures/%-states.svg: docs/pictures/%-states.txt tests/pictures/states.py tests/pictures/svg.py
	$(DRAW)/states.py draw $< $@

pictures-stages: docs/pictures/stages.svg
docs/pictures/stages.svg: tests/pictures/stages.dot tests/pictures/svg.py
	$(DRAW)/svg.py $< $@
