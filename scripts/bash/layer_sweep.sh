#!/usr/bin/env bash
# The layer sweep: all attempts of the tree, judged on test too, into results/layers, then the figures.
#   MODEL=gemma bash scripts/bash/layer_sweep.sh [options of `featureinterp experiment layers`]
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python)}
exec "$PYTHON" scripts/layer_sweep.py --model "${MODEL:-embedded}" "$@"
