# `make` lists the targets. Each sets up .venv by itself, once.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint clean

help: ## show this list
	@echo "make demo    from a base model to your own: data, fine-tuning, evaluation, merge, chat, report"
	@echo "make test    the whole test suite, with ruff and mypy"
	@echo "make lint    ruff and mypy alone"
	@echo "make clean   remove .venv and caches; runs/ and the models in your cache folder stay"

demo: ## the main job; again: goes on where it stopped
	@$(PYTHON) scripts/setup_env.py
	@$(BIN)/belle demo

test: lint ## everything but the tests marked slow
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

lint:
	@$(PYTHON) scripts/setup_env.py --dev
	@$(BIN)/ruff check .
	@$(BIN)/mypy

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
