#!/usr/bin/env bash
# Figure 3: every explanation beside each complementary source into results/complementary, then the figures.
#   MODEL=gemma bash scripts/bash/complementary_sentences.sh [options of `featureinterp experiment complementary`]
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python)}
exec "$PYTHON" scripts/complementary_sentences.py --model "${MODEL:-embedded}" "$@"
