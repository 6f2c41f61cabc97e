# The reader's loop: docs/exercises.md. N-M is an exercise's id, as in 4-2; 4.2 is understood.
EXERCISE := @tests/bin/exercise

.PHONY: exercises grade handout progress next watch prove patches-refresh

exercises: ## all exercises: kind, minutes, what one learns, done or not
	$(EXERCISE) list

exercise-%: FORCE ## start this exercise (a copy in work/N-M), and again: build and test it
	$(EXERCISE) run $*

hint-%: FORCE ## the next hint
	$(EXERCISE) hint $*

watch: ## build and test the next exercise at every save; `make watch-N-M`: this one
	$(EXERCISE) watch

watch-%: FORCE ## build and test it at every save
	$(EXERCISE) watch $*

solution-%: FORCE ## what the solution does differently
	$(EXERCISE) solution $*

reset-%: FORCE ## begin anew; your copy is moved aside
	$(EXERCISE) reset $*

check-%: FORCE ## its tests on any program (SERVER='python3 my.py', CLIENT=…, DIR=…)
	$(EXERCISE) check $*

stress-%: FORCE ## how often its tests fail in N=50 runs
	$(EXERCISE) stress $*

mystery-%: FORCE ## one of chapter N's bugs, you are not told which (SEED=name: that name's)
	$(EXERCISE) mystery $*

grade: ## for teachers: points for what students handed in (DIR=students FORMAT=csv or junit)
	@tests/bin/grade '$(DIR)' '$(FORMAT)'

handout: ## for teachers: an archive of the kit without solutions (TO=build/….tar.gz)
	@tests/bin/handout '$(TO)'

progress: ## how far you are
	$(EXERCISE) progress

next: ## the exercise to do next
	$(EXERCISE) next

prove: ## prove every exercise, as CI does (ONLY=1-2 one of them, ONLY=1 a chapter)
	@tests/bin/prove

edit-%: FORCE ## for authors: the patched chapter in work/edit/N-M
	$(EXERCISE) edit $*

patch-%: FORCE ## for authors: the patch anew from there
	$(EXERCISE) patch $*

patches-refresh: ## for authors: all patches anew after a chapter changed
	$(EXERCISE) refresh
