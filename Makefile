# What somebody types. Everything else is Ansible: see README.md.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
INVENTORY ?= inventory/sandbox
# The engine's socket belongs to root; on one's own account everything of the sandbox goes through sudo.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env env "PATH=$$PATH")
# What root wrote there goes to who called; chown -R would give away whatever a hard link in it is a name of.
OWN_RESULTS := $(if $(AS_ROOT),$(AS_ROOT) python tools/own_results.py "$$(id -u):$$(id -g)" results,:)
SCENARIO ?=
SCENARIOS := $(notdir $(patsubst %/molecule.yml,%,$(wildcard molecule/*/molecule.yml)))
STUDY ?= studies/iron_track
PROTOCOL ?= quick
EXPERIMENTS ?=
VARIANTS ?=
SEED ?=
SECTIONS ?=
BLOCKS ?= 10
PROVIDER ?=
CLOUD ?=
CLOUD_ID ?=
comma := ,
empty :=
# What Make has as words, JSON has as a list.
json_list = [$(subst $(empty) $(empty),$(comma),$(foreach word,$(1),"$(word)"))]
BENCH_VARIABLES = {"bench_study": "$(abspath $(STUDY))", "bench_protocol": "$(PROTOCOL)", \
  "bench_experiments": $(call json_list,$(EXPERIMENTS)), "bench_variants": $(call json_list,$(VARIANTS))$(if $(SEED),$(comma) "bench_seed": $(SEED))}

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(VENV)/.complete ## Make the virtualenv that all else runs from

$(VENV)/.complete: pyproject.toml app/pyproject.toml bench/pyproject.toml uv.lock tools/bootstrap.sh tools/bootstrap.txt
	@tools/bootstrap.sh $(PYTHON) $(VENV)
	@touch $@

.PHONY: root
root:
	@if [ "$$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then \
	  echo "ironbench: the sandbox needs root, and there is no sudo here: run this as root." >&2; exit 2; fi

.PHONY: sandbox
sandbox: venv root ## Make the throwaway host
	@$(AS_ROOT) ansible-playbook -i inventory/sandbox playbooks/sandbox.yml

.PHONY: bench
bench: sandbox ## Everything: throwaway host, site.yml, a quick plan, its report (PROTOCOL=rigorous EXPERIMENTS="me signin" or all, VARIANTS= SEED= STUDY=); again: goes on where it stopped
	@$(AS_ROOT) ansible-playbook -i inventory/sandbox site.yml playbooks/bench.yml -e '$(BENCH_VARIABLES)'
	@$(OWN_RESULTS)
	@ironbench report "$$(ls -td results/*/ | head -n 1)"

.PHONY: plan
plan: venv ## What such a plan would do, and which effects it could see; measures nothing
	@ironbench plan --show --study $(STUDY) --protocol $(PROTOCOL) --results results \
	  $(foreach name,$(EXPERIMENTS),--experiment $(name)) $(foreach name,$(VARIANTS),--variant $(name)) $(if $(SEED),--seed $(SEED))

.PHONY: kill-test
kill-test: sandbox ## A plan on the throwaway host, its playbook killed at 20 random moments, in 10 min
	@$(AS_ROOT) ansible-playbook -i inventory/sandbox site.yml
	@$(AS_ROOT) python tools/kill_test.py

.PHONY: faults
faults: venv root ## Four throwaway hosts, and one thing broken after the other while they measure, in 25 min (FAULTS="valkey disk")
	@$(AS_ROOT) ansible-playbook -i molecule/inventory/multi_host.yml playbooks/sandbox.yml
	@$(AS_ROOT) ansible-playbook -i molecule/inventory/multi_host.yml site.yml
	@result=0; $(AS_ROOT) python tools/faults.py $(FAULTS) || result=$$?; \
	  $(AS_ROOT) ansible-playbook -i molecule/inventory/multi_host.yml playbooks/sandbox.yml -e sandbox_state=absent; exit $$result

.PHONY: cloud
cloud: venv ## Rent machines, deploy, measure, give them back (PROVIDER=hetzner CLOUD="cloud_type=cpx31 cloud_zone=fsn1 ..."): docs/how-to/cloud.md
	@CLOUD_ID=$(CLOUD_ID) tools/cloud.sh "$(PROVIDER)" -e '$(BENCH_VARIABLES)' -e '$(CLOUD)'

.PHONY: cloud-destroy
cloud-destroy: venv ## Give back what carries CLOUD_ID (PROVIDER=hetzner CLOUD_ID=..., and for AWS CLOUD="cloud_zone=...")
	@ansible-playbook playbooks/cloud.yml -e 'cloud_provider=$(PROVIDER) cloud_id=$(CLOUD_ID) $(CLOUD)' -e cloud_state=absent

.PHONY: benchmark-app
benchmark-app: $(if $(filter inventory/sandbox,$(INVENTORY)),sandbox,venv) ## What each lever costs, in 30 min (SECTIONS="me ladder", BLOCKS=10, INVENTORY=...); empties the database
	@$(if $(filter inventory/sandbox,$(INVENTORY)),$(AS_ROOT)) ansible-playbook -i $(INVENTORY) site.yml playbooks/benchmark_app.yml \
	  -e benchmark_app_sections="'$(SECTIONS)'" -e benchmark_app_blocks=$(BLOCKS)
	@$(if $(filter inventory/sandbox,$(INVENTORY)),$(OWN_RESULTS))
	@cat "$$(ls -td results/benchmark-app/*/ | head -n 1)report.txt"

.PHONY: clean
clean: ## Take the sandbox away, and stop the engine if this project started it
	@if [ -x $(BIN)/ansible-playbook ]; then \
	  $(AS_ROOT) ansible-playbook -i inventory/sandbox playbooks/sandbox.yml -e sandbox_state=absent -e sandbox_engine_stop=true; fi

.PHONY: test
test: venv browser root ## Everything: lint, unit tests, app tests, molecule; of rented machines the whole path only with IRONBENCH_CLOUD_WHOLE=hetzner,aws
	@IRONBENCH_CLOUD_WHOLE="$${IRONBENCH_CLOUD_WHOLE:-}" tools/tests.sh lint unit $(SCENARIOS)

.PHONY: lint
lint: venv ## ansible-lint, yamllint, ruff, pyright
	ruff check .
	ruff format --check .
	pyright
	yamllint --strict .
	ansible-lint --offline --strict

.PHONY: unit
unit: venv browser ## Tests that need no host; root gets Chromium for those of report.html
	pytest --junitxml=.cache/junit/unit.xml

.PHONY: browser
browser:
	@tools/chromium.sh

.PHONY: fuzz
fuzz: venv ## 20,000 mutated logs against the parsers, and 20,000 hostile archives against what unpacks them
	IRONBENCH_FUZZ=20000 pytest -s bench/tests/imports/test_fuzz.py bench/tests/test_archive_fuzz.py bench/tests/fooling/test_host_contents.py

.PHONY: benchmark-load
benchmark-load: venv ## The load generator beside k6 and h2load (SECTIONS="peers rate phase memory selftest", DURATION=10)
	@python bench/benchmarks/load.py --seconds $(or $(DURATION),10) $(SECTIONS)

.PHONY: benchmark-statistics
benchmark-statistics: venv ## Coverage, false verdicts and power in simulated worlds, in 4 min (BLOCKS="6 10 20")
	@python bench/benchmarks/simulations.py $(if $(filter command line,$(origin BLOCKS)),--blocks $(BLOCKS))

.PHONY: benchmark-report
benchmark-report: venv ## Time and memory of a report on 100, 1,000 and 10,000 runs
	@python bench/benchmarks/report.py

.PHONY: benchmark-site
benchmark-site: venv root ## site.yml beside a shell script that makes the same, on throwaway hosts, in 15 min a round, and 7 before the first (ROUNDS=3)
	@$(AS_ROOT) python tools/benchmark_site.py --rounds $(or $(ROUNDS),3)

.PHONY: molecule
molecule: venv root ## Roles, app and plans on throwaway hosts (SCENARIO=name for one)
	@tools/tests.sh $(or $(SCENARIO),$(SCENARIOS))

.PHONY: lock
lock: venv ## Make all lock files anew
	uv lock
	tools/lock.sh

.PHONY: format
format: venv ## Let ruff lay out the Python
	ruff check --fix .
	ruff format .
