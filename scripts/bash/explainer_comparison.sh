#!/usr/bin/env bash
# Figure 4: all eight bars, one run each in results/explainers, then the figures.
#   MODEL=gemma bash scripts/bash/explainer_comparison.sh [options of `featureinterp experiment explainers`]
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python)}
MODEL=${MODEL:-embedded}

for search in one-shot tree; do
  for flags in "" "--structured_explanations" \
    "--structured_explanations --include_train_negatives" \
    "--structured_explanations --include_holistic_expressions"; do
    # shellcheck disable=SC2086 # flags are words
    "$PYTHON" scripts/explainer_comparison.py --model "$MODEL" --explainer_type "$search" $flags "$@"
  done
done
