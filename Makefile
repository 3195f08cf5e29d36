# Everything a person or CI runs; `make help` lists it.

# Python 3.10 to 3.13, with venv: make demo PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
# For CPU-only wheels of torch from PyTorch's own index:
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
# What `make serve` serves: the name of a file in deployments/, or a TOML file.
DEPLOYMENT ?= demo
# What `make engines` builds.
SET ?= demo
# Parallel test processes of `make test`, each with its own server.
WORKERS ?= 2
PRECISION ?= fp16
# Minutes for `make bench-real-size` after the export, and what it serves: the fastest form that is
# accurate on a CPU. Without bf16 in the processor the rest of it is fp32.
MINUTES ?= 25
REAL_SIZE ?= --runtime onnxruntime-openvino --precision bf16-int8
# Folders of the two reports for `make bench-compare`.
A ?= build/bench-before
B ?= build/bench
# Where `make gpu-smoke` serves: gpu, or cpu for the same steps against the embedded server.
DEVICE ?= gpu
BIN := $(VENV)/bin
READY := $(VENV)/.installed
GPU_VENV ?= .venv-gpu
GPU_READY := $(GPU_VENV)/.installed

# Fresh memory is slow to touch on some virtual machines; large pages help a lot.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help

$(READY): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "error: there is no $(PYTHON): name one that there is, as in make demo PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" check_python.py
	@# An environment of another Python, a failed try perhaps, cannot be mended.
	@if [ -e $(VENV)/pyvenv.cfg ] && [ "$$($(BIN)/python -VV 2>&1)" != "$$("$(PYTHON)" -VV 2>&1)" ]; then rm -rf $(VENV); fi
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet $(PIP_ARGS) -c constraints.txt -e ".[server,export,bench,dev,search,web,mcp,ray,s3]"
	$(BIN)/pip install --quiet $(PIP_ARGS) -c constraints.txt --no-deps nvidia-pytriton
	touch $@

# onnxruntime-gpu has the same files as onnxruntime, so an environment can only have one of them.
$(GPU_READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(GPU_VENV)
	$(GPU_VENV)/bin/pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(GPU_VENV)/bin/pip install --quiet $(PIP_ARGS) -c constraints.txt -e ".[server,export,bench,dev,search,web,mcp,ray,s3]"
	$(GPU_VENV)/bin/pip uninstall --quiet --yes onnxruntime
	$(GPU_VENV)/bin/pip install --quiet $(PIP_ARGS) -c constraints.txt -e ".[gpu]"
	touch $@

.PHONY: help
help: ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 22

.PHONY: install
install: $(READY) ## make the virtual environment

.PHONY: demo
demo: $(READY) ## export the demo checkpoints, serve them on a real Triton, cut objects out
	$(BIN)/python -m demo

.PHONY: test
test: $(READY) ## all tests but the long ones
	-@$(BIN)/python -m deploy.tools
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore tests/server
	@# These start, kill and count servers: they are alone on the machine.
	$(BIN)/python -m pytest tests/server

.PHONY: test-ray
test-ray: $(READY) ## the tests that start a Ray cluster on this machine (2 minutes)
	$(BIN)/python -m pytest -m ray

.PHONY: serve
serve: $(READY) ## export and serve DEPLOYMENT (demo, or a TOML file) until interrupted
	$(BIN)/python -m export $(DEPLOYMENT)
	$(BIN)/fovea serve --deployment $(DEPLOYMENT)

.PHONY: truth
truth: $(READY) ## reference and served answers against 500 held-out scenes
	$(BIN)/python -m demo.truth --scenes 500 --json build/truth.json

.PHONY: search-demo
search-demo: $(READY) ## index 300 demo pictures through the server, and find things in them
	$(BIN)/python -m demo.search --out build/search

.PHONY: search-truth
search-truth: $(READY) ## how much object search finds in 2,000 held-out pictures (half an hour; resumable)
	$(BIN)/python -m demo.search_truth --json build/search-truth.json

.PHONY: swap
swap: $(READY) ## other families in the demo's place, against the reference and the truth
	$(BIN)/python -m demo.swap --json build/swap.json

.PHONY: parity
parity: $(READY) ## each exported demo network against PyTorch
	$(BIN)/python -m export.report --set demo --json build/parity.json

.PHONY: families
families: $(READY) ## every family through the same gates: pixels, tokens, parity, neighbours
	$(BIN)/python -m export.family_report --json build/families.json

.PHONY: families-real-size
families-real-size: $(READY) ## well-known checkpoints' architectures at full size: parity and speed (long)
	$(BIN)/python -m export.family_real_size --json docs/models.json
	$(BIN)/python -m export.models_page

.PHONY: families-yolo
families-yolo: $(READY) ## YOLO files against the packages that write them, in a separate environment
	$(PYTHON) -m venv .venv-yolo
	.venv-yolo/bin/pip install --quiet $(PIP_ARGS) torch==2.13.0
	.venv-yolo/bin/pip install --quiet --no-deps -r export/yolo_upstream/requirements.txt
	$(BIN)/python -m export.yolo_report --python .venv-yolo/bin/python

.PHONY: models
models: $(READY) ## write docs/models.md from the registry of families
	$(BIN)/python -m export.models_page

.PHONY: parity-real-size
parity-real-size: $(READY) ## the production architectures at full size, random weights (long)
	$(BIN)/python -m export.report --set stand-in --grounding-dino-edge 800 --max-batch 2 --json build/parity-real-size.json

.PHONY: precision
precision: $(READY) ## fp16 and int8 against fp32: size, speed, and the demo world's truth
	$(BIN)/python -m demo.precision --json build/precision.json

.PHONY: engines
engines: $(READY) ## TensorRT engines of SET in PRECISION, on the GPU that will run them
	$(BIN)/python -m export --set $(SET) --precision $(PRECISION) --runtime tensorrt --engines

.PHONY: engines-rtx
engines-rtx: $(READY) ## engines of all families, and of production at full size, with TensorRT for RTX, no GPU needed (long)
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet $(PIP_ARGS) -c constraints.txt -e ".[engines]"
	$(BIN)/python -m export.family_engines --json docs/engines.json
	$(BIN)/python -m export.models_page
	$(BIN)/python -m export.engines_rtx --set stand-in --grounding-dino-edge 800 --json build/engines-rtx.json

.PHONY: test-real-size
test-real-size: $(READY) ## the tests marked real_size (long)
	$(BIN)/python -m pytest -m real_size

.PHONY: bench-quick
bench-quick: $(READY) ## main_object through Triton against plain transformers
	$(BIN)/python -m benchmarks.quick --json build/bench-quick.json

.PHONY: bench
bench: $(READY) ## latency, throughput, batches and truth, against baselines (about 20 minutes)
	$(BIN)/python -m benchmarks --out build/bench

.PHONY: bench-real-size
bench-real-size: $(READY) ## the same at full size with random weights (MINUTES, and the export)
	$(BIN)/python -m benchmarks --set stand-in --grounding-dino-edge 800 $(REAL_SIZE) --scale full-size --minutes $(MINUTES) --out build/bench-real-size

.PHONY: bench-gpu
bench-gpu: $(GPU_READY) ## the same on a CUDA machine in fp16; without one it exits with 3
	PATH="$(abspath $(GPU_VENV)/bin):$$PATH" $(GPU_VENV)/bin/python -m benchmarks.gpu --out build/bench-gpu

.PHONY: web
web: $(READY) ## the page and the verbs over HTTP, on the demo with a small index, until Ctrl-C
	$(BIN)/python -m demo.web

.PHONY: web-pictures
web-pictures: $(READY) ## the page's screenshots, docs/web-*.png; needs Chromium
	$(BIN)/python -m tests.web.page_pictures

.PHONY: fuzz-web
fuzz-web: $(READY) ## ten thousand requests made from the gateway's own description (long)
	$(BIN)/python -m pytest -m faults tests/web

.PHONY: bench-web
bench-web: $(READY) ## the gateway's cost over the client, and a click in the page (4 minutes)
	$(BIN)/python -m benchmarks.web --json build/bench-web.json

.PHONY: bench-everything
bench-everything: $(READY) ## segment_everything against transformers' mask generation and the truth
	$(BIN)/python -m benchmarks.everything --json build/bench-everything.json

.PHONY: bench-search
bench-search: $(READY) ## index jobs, the grid decoder, a million vectors, and a plain script
	$(BIN)/python -m benchmarks.search --json build/bench-search.json

.PHONY: crops
crops: $(READY) ## which crop of an object is found best, by words and by other objects
	$(BIN)/python -m demo.crops --json build/crops.json

.PHONY: recommend
recommend: $(READY) ## light and heavy members at real size, side by side (about 50 minutes)
	$(BIN)/python -m benchmarks.recommend --json build/recommend.json --docs docs/choosing.md

.PHONY: bench-compare
bench-compare: $(READY) ## what changed from report A to report B beyond the noise
	$(BIN)/python -m benchmarks.compare $(A) $(B)

.PHONY: tune
tune: $(READY) ## instances, threads and batches for this machine, in build/settings.json
	$(BIN)/python -m benchmarks.tune --set $(SET)

.PHONY: faults
faults: $(READY) ## fuzzing, kills, stops, overload, new versions under load (long)
	$(BIN)/python -m tests.faults --json build/faults.json
	$(BIN)/python -m pytest -m faults tests/serving

.PHONY: soak
soak: $(READY) ## 30 minutes of mixed load: does memory grow?
	$(BIN)/python -m tests.faults.soak --json build/soak.json

.PHONY: deploy-tools
deploy-tools: $(READY) ## kubectl, hadolint, Prometheus and promtool, for the checks
	$(BIN)/python -m deploy.tools

.PHONY: deploy-check
deploy-check: deploy-tools ## overlays, rules, dashboard and traces, on a real Prometheus
	$(BIN)/python -m deploy.check --json build/deploy.json

.PHONY: gpu-smoke
gpu-smoke: $(READY) ## images, truth, a kill, engines and a load on a machine with Docker and a GPU; DEVICE=cpu without
	$(BIN)/python -m deploy.smoke --device $(DEVICE) --json build/gpu-smoke.json

.PHONY: kind
kind: $(READY) ## the demo on a throw-away Kubernetes cluster; needs Docker and kind
	deploy/kind.sh

.PHONY: configs
configs: $(READY) ## write model_repository from the specs
	$(BIN)/python -m export.configs

.PHONY: lint
lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: clean
clean: ## remove what was built
	rm -rf build
