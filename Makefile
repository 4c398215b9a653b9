# Parley. `make run` starts a server, `make test` tests it; both install what is missing first (deploy/deps.sh).
#
# VARIANT is release, asan (with UBSan) or tsan; everything goes to $(BUILD)/$(VARIANT), the release programs also to $(BUILD)/.
VARIANT ?= release
BUILD   ?= build
OUT      = $(BUILD)/$(VARIANT)
ifeq ($(origin CC),default)
CC       = gcc
endif

LAYERS  = base proto queue storage schema services gateway
PROGS   = parleyd parley parley-load

CFLAGS_release = -O2 -g
CFLAGS_asan    = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_fuzz    = -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
CFLAGS_tsan    = -O1 -g -fsanitize=thread
WARN    = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-format-zero-length -Werror
CPPFLAGS += -I. -D_GNU_SOURCE -include base/banned.h
# The server is optimized as a whole: a tenth fewer instructions a message. Objects carry their own code as well, which is what all
# else links; tests layer by layer. `LTO=` does without, as clang does: for profiles that name every function, in a BUILD of its own.
LTO     ?= $(if $(filter release,$(VARIANT)),$(if $(findstring clang,$(CC)),,-flto=auto))
CFLAGS  += -std=c11 $(CFLAGS_$(VARIANT)) $(WARN) -fno-common $(if $(LTO),$(LTO) -ffat-lto-objects)
LDFLAGS += $(CFLAGS_$(VARIANT)) $(if $(LTO),-fno-lto)
WHOLE    = $(filter-out -fno-lto,$(LDFLAGS)) $(LTO)
LIBS    = -lwebsockets -lssl -lcrypto -luv -lsqlite3 -ljansson -lsodium -llz4 -lxxhash -lz -lpthread

src      = $(sort $(wildcard $(1)/*.c))
obj      = $(patsubst %.c,$(OUT)/%.o,$(1))
archive  = $(OUT)/lib$(1).a
ALL_SRC  = $(foreach l,$(LAYERS) cmd,$(call src,$(l))) $(wildcard tests/*/*.c tests/*/*/*.c)

# What a layer may link: itself and those below it. A call upward does not link.
below_base     = base
below_proto    = proto base
below_queue    = queue proto base
below_storage  = storage proto base
below_schema   = schema proto base
below_services = services queue storage schema proto base
below_gateway  = gateway queue proto base
below_cmd      = gateway services queue storage schema proto base

.PHONY: all programs run test tests unit check format-check format bench fuzz crash sim try-compose clean differential
all: programs
programs: $(addprefix $(if $(filter release,$(VARIANT)),$(BUILD),$(OUT))/,$(PROGS))

define layer_rule
$(call archive,$(1)): $(call obj,$(call src,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call layer_rule,$(l))))

$(OUT)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC $(VARIANT) $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(OUT)/schema/migrations.o: $(wildcard schema/*.sql)
$(OUT)/schema/migrations.o: LTO = # what its assembler defines the linker must see

# A program is cmd/<name>.c with its parts cmd/<name>_*.c; `-` in the program's name is `_` in the file's.
prog_file = $(subst -,_,$(1))
# `parley` has no part in `parley_load`.
prog_parts = $(filter-out $(if $(filter parley,$(1)),cmd/parley_load%),$(wildcard cmd/$(call prog_file,$(1))_*.c cmd/common_*.c))
define prog_rule
$(OUT)/$(1): $(call obj,cmd/$(call prog_file,$(1)).c $(call prog_parts,$(1))) $(foreach l,$(below_cmd),$(call archive,$(l)))
	@echo "  LD $(VARIANT) $$@"
	@$(CC) $(if $(filter parleyd,$(1)),$(WHOLE),$(LDFLAGS)) -o $$@ $$^ $(LIBS)
$(BUILD)/$(1): $(OUT)/$(1)
	@ln -sf $(VARIANT)/$(1) $$@
endef
$(foreach p,$(PROGS),$(eval $(call prog_rule,$(p))))

# What tests share; it stands on base alone.
TESTLIB = $(OUT)/libtests.a
$(TESTLIB): $(call obj,$(call src,tests/lib))
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcs $@ $^

# tests/unit/<layer>/test_x.c links that layer's archive and those below. For cmd that is the parts of the load generator, and what
# is named here of the others.
parts_cmd = $(call obj,$(wildcard cmd/parley_load_*.c) cmd/parleyd_replay.c cmd/parleyd_feed.c cmd/parley_verify_folder.c cmd/parley_tool.c cmd/parley_time.c)
UNIT = $(foreach l,$(LAYERS) cmd,$(patsubst tests/unit/%.c,$(OUT)/unit/%,$(wildcard tests/unit/$(l)/test_*.c)))
define unit_rule
$(OUT)/unit/$(1)/%: $(OUT)/tests/unit/$(1)/%.o $(parts_$(1)) $(TESTLIB) $(foreach l,$(below_$(1)),$(call archive,$(l)))
	@mkdir -p $$(@D)
	@$(CC) $(LDFLAGS) -o $$@ $$^ $(LIBS) -lcmocka
unit-$(1): $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(wildcard tests/unit/$(1)/test_*.c))
	@for t in $$^; do $$$$t || exit 1; done
.PHONY: unit-$(1)
endef
$(foreach l,$(LAYERS) cmd,$(eval $(call unit_rule,$(l))))

# tests/sim/test_x.c: a layer, and those below it, on a simulated disk. `make sim` runs many seeds, on all cores.
under_log = $(below_queue)
under_lsm = $(below_storage)
under_conv = queue $(below_storage)
SIMS = $(patsubst tests/sim/test_%.c,%,$(wildcard tests/sim/test_*.c))
SIM = $(SIMS:%=$(OUT)/sim/test_%)
define sim_rule
$(OUT)/sim/test_$(1): $(OUT)/tests/sim/test_$(1).o $(TESTLIB) $(foreach l,$(under_$(1)),$(call archive,$(l)))
	@mkdir -p $$(@D)
	@$(CC) $(LDFLAGS) -o $$@ $$^ $(LIBS) -lcmocka
endef
$(foreach s,$(SIMS),$(eval $(call sim_rule,$(s))))
SEEDS ?= 10000
sim: $(SIM)
	@tests/run.py sim $(SEEDS) $(SIM)
.SECONDARY:

unit: $(UNIT) $(SIM)
	@tests/run.py unit $(UNIT) $(SIM)

# tests/differential/test_x.c: the store and another engine, the same workload, answers compared. DIFFERENTIAL_STEPS and
# DIFFERENTIAL_SEED are theirs.
DIFFERENTIAL = $(patsubst tests/%.c,$(OUT)/%,$(wildcard tests/differential/test_*.c))
$(OUT)/differential/%: $(OUT)/tests/differential/%.o $(TESTLIB) $(foreach l,$(below_storage),$(call archive,$(l)))
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS) -lcmocka -lrocksdb
differential: $(DIFFERENTIAL)
	@for t in $^; do $$t || exit 1; done

# What a newcomer calls. `run` and `test` install what is missing first.
ARGS ?=
run:
	@deploy/deps.sh build
	@$(MAKE) --no-print-directory -j$$(nproc) programs
	$(OUT)/parleyd $(ARGS)

test:
	@deploy/deps.sh test
	@$(MAKE) --no-print-directory -j$$(nproc) programs tests
	@tests/run.py all $(OUT) $(UNIT) $(SIM) $(DIFFERENTIAL)

tests: $(UNIT) $(SIM) $(DIFFERENTIAL)

# What a commit must pass beside the tests.
SOURCES = $(wildcard $(foreach l,$(LAYERS) cmd tests/lib tests/unit/* tests/sim tests/fuzz tests/bench tests/guard tests/differential,$(l)/*.c $(l)/*.h))
check: format-check
	@tests/check_layers.py
format-check:
	@clang-format --dry-run -Werror $(SOURCES) && echo "format: $(words $(SOURCES)) files are in form"
format:
	@clang-format -i $(SOURCES)

crash: programs
	@tests/crash/crash.py --build $(OUT) $(ARGS)

# The limit that the server is compared with.
$(BUILD)/bare_relay: $(call obj,tests/bench/bare_relay.c cmd/parley_load_users.c) $(call archive,base)
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# Makes the folder that cold pages and sync are measured on.
$(BUILD)/bench_fill: $(call obj,tests/bench/fill.c cmd/parley_load_users.c) $(foreach l,$(below_services),$(call archive,$(l)))
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

bench: programs $(BUILD)/bare_relay $(BUILD)/bench_fill
	@tests/bench/run.sh $(BUILD)

# What a message costs by cores, conversations and connections; and what grows in an hour (SOAK_SECONDS) of mixed load.
bench-scale: programs $(OUT)/bench-chat
	@/usr/bin/python3 tests/bench/scale.py $(BUILD)
soak: programs
	@/usr/bin/python3 tests/bench/soak.py $(BUILD)
.PHONY: bench-scale soak
# Where the time of a message goes: a budget, and a flame graph of a server under load. ARGS: the window (8).
flame:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/parts LTO= programs
	@tests/bench/flame.py $(BUILD)/parts docs/flame.svg $(ARGS)

# tests/bench/bench_x.c: one part measured by itself; ARGS goes to it.
bench_proto = proto
bench_log = queue
bench_store = storage
bench_convlog = storage
bench_chat = services
bench_growth = storage
bench_replay = cmd
BENCHES = proto log store convlog chat growth replay
# The store is measured beside the general engines, which nothing else here links.
bench_parts_replay = $(call obj,cmd/parleyd_replay.c cmd/parleyd_feed.c)
bench_parts_store = $(call obj,$(wildcard tests/bench/store_*.c))
bench_libs_store  = -lrocksdb -lleveldb
bench_args_store  = -j $(BUILD)/bench/store.json
bench_args_growth = -j $(BUILD)/bench/growth.json
define bench_rule
$(OUT)/bench-$(1): $(OUT)/tests/bench/bench_$(1).o $(bench_parts_$(1)) $(foreach l,$(below_$(bench_$(1))),$(call archive,$(l)))
	@$(CC) $(LDFLAGS) -o $$@ $$^ $(LIBS) $(bench_libs_$(1)) -lcmocka
bench-$(1): $(OUT)/bench-$(1)
	@mkdir -p $(BUILD)/bench
	@$$< $(bench_args_$(1)) $(ARGS)
.PHONY: bench-$(1)
endef
$(foreach b,$(BENCHES),$(eval $(call bench_rule,$(b))))

# tests/guard/path.c: instructions of the data path, counted by callgrind and compared with tests/guard/baseline.json.
$(OUT)/guard/path: $(OUT)/tests/guard/path.o $(foreach l,$(below_cmd),$(call archive,$(l)))
	@mkdir -p $(@D)
	@$(CC) $(WHOLE) -o $@ $^ $(LIBS)
guard: $(OUT)/guard/path
	@tests/guard/guard.py $< $(ARGS)
.PHONY: guard flame

# tests/fuzz/fuzz_x.c under clang's libFuzzer, starting from tests/fuzz/corpus/x: proto or another layer, and those below
# it. What the code under test logs of damaged files is not shown.
FUZZ_SECONDS ?= 20
FUZZES = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz_layer_manifest = storage
fuzz_layer_sst      = storage
fuzz_layer_seglog   = queue
fuzz_layer_cursor   = services
fuzz_layer_framing  = gateway
fuzz_args_sst       = -close_fd_mask=2
fuzz_args_seglog    = -close_fd_mask=2
fuzz:
	@$(MAKE) --no-print-directory VARIANT=fuzz CC=clang $(FUZZES:%=fuzz-%)
define fuzz_rule
fuzz-$(1): $(OUT)/tests/fuzz/fuzz_$(1).o $(TESTLIB) $(foreach l,$(below_$(or $(fuzz_layer_$(1)),proto)),$(call archive,$(l)))
	@mkdir -p $(OUT)/corpus/$(1)
	@$$(CC) $$(LDFLAGS) -fsanitize=fuzzer -o $(OUT)/$$@ $$^ $$(LIBS) -lcmocka
	$(OUT)/$$@ -max_total_time=$$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 -artifact_prefix=$(OUT)/ $$(fuzz_args_$(1)) $(OUT)/corpus/$(1) tests/fuzz/corpus/$(1)
.PHONY: fuzz-$(1)
endef
$(foreach f,$(FUZZES),$(eval $(call fuzz_rule,$(f))))

try-compose:
	@deploy/try-compose.sh

clean:
	rm -rf $(BUILD)

-include $(patsubst %.c,$(OUT)/%.d,$(ALL_SRC))
