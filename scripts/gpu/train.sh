#!/usr/bin/env bash
# On the GPU machine, from the repository's root:  bash scripts/gpu/train.sh CONFIG MINUTES OUT
#
# Goes on from runs/NAME if this machine still has it, else from .gpu/state, else from nothing; trains for MINUTES and
# leaves in OUT the state in parts of 15 MB, the averaged weights with their card, and the log.
set -euo pipefail
config=$1 minutes=$2 out=$3
name=$(basename "$config" .yaml)
mkdir -p "runs/$name" "$out"
if [ ! -f "runs/$name/state.pt" ] && compgen -G '.gpu/state/part.*' >/dev/null; then
  cat .gpu/state/part.* >"runs/$name/state.pt"
fi
if ! python3 -c 'import av' 2>/dev/null; then
  python3 -m pip install --quiet --no-index --no-deps --target runs/packages .gpu/packages/*.whl
fi
PYTHONPATH=runs/packages python3 -m scripts.train "$config" --minutes "$minutes" 2>&1 | tee "$out/train.log"
split --bytes=15M "runs/$name/state.pt" "$out/part."
cp "runs/$name/$name.safetensors" "runs/$name/$name.yaml" "runs/$name/log.jsonl" "$out/"
