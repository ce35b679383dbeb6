#!/usr/bin/env bash
# Figure 5: rule caps from 1 to 5 on evenly spaced layers into results/polysemanticity, then the figures.
#   MODEL=gemma bash scripts/bash/polysemanticity_sweep.sh [options of `featureinterp experiment polysemanticity`]
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python)}
exec "$PYTHON" scripts/polysemanticity_sweep.py --model "${MODEL:-embedded}" "$@"
