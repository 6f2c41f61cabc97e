# Pictures of what happens between two programs, from real runs.

.PHONY: trace pictures
TRACE = tests/trace/trace.py $(if $(SCENE),--scene $(call quoted,$(SCENE)))

trace: ## SERVER=… CLIENT=…: both sides of any two programs; without them: all scenes
	@tests/trace/trace.py $(if $(SERVER),--server $(call quoted,$(SERVER))) \
	  $(if $(CLIENT),--client $(call quoted,$(CLIENT)))

trace-%: FORCE ## both sides of a scene of a chapter (SCENE=name, STEP=n)
	@$(MAKE) -s $* $(if $(STEP),$(wildcard $*-*)/steps)
	@$(TRACE) $(if $(STEP),--step $(call quoted,$(STEP))) $*

pictures: all ## draw docs/pictures again, from runs of all scenes
	@tests/trace/trace.py --pictures
