# make train    sets up .venv and trains; make train ARGS="--epoch 1"
# make test     sets up .venv and runs the tests; make test ARGS="-k compat"
# make lint     runs the linter
# make clean    removes .venv and caches, never result/
#
# The Python to set up .venv with: make PYTHON=python3.13 train
PYTHON = python3
ARGS =

# A stamp is made last: an installation that was interrupted has none.
venv = .venv/made
train = .venv/installed
test = .venv/installed-dev
sources = requirements.txt $(wildcard packaging/chainer/*.*)

.PHONY: train test lint clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

train: $(train)
	.venv/bin/python train_mnist.py $(ARGS)

test: $(test)
	.venv/bin/python -m pytest $(ARGS)

lint: $(test)
	.venv/bin/python -m ruff check .

$(venv):
	$(PYTHON) -m venv --clear .venv
	touch $@

$(train): $(venv) $(sources)
	.venv/bin/python -m pip install -r requirements.txt
	touch $@

$(test): $(venv) $(sources) requirements-dev.txt
	.venv/bin/python -m pip install -r requirements-dev.txt
	touch $(train) $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
