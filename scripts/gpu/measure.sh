#!/usr/bin/env bash
# On the GPU machine, from the repository's root:  bash scripts/gpu/measure.sh OUT
#
# Installs what `python -m scripts.gpu.pack plugin` has packed into that machine's python3, tests there what needs a GPU
# and measures it. Leaves in OUT the logs of both and gpu.json, which is kept as docs/benchmarks/gpu.json. Takes up to
# nine minutes; what fails or takes too long stops nothing that comes after it.
set -uo pipefail
out=$1
mkdir -p "$out"
export PYTHONUNBUFFERED=1
nvidia-smi -L 2>/dev/null | sed 's/ (UUID.*//'
python3 -m pip install --quiet --no-index --no-deps --force-reinstall .gpu/packages/*.whl .gpu/plugin/*.whl || exit
python3 -P -c 'import sys, torch, vs_videoinr; print(sys.executable, torch.__version__, vs_videoinr.__file__)' || exit

step() { # SECONDS LOG COMMAND...: says how long it took and how it ended
  local limit=$1 log=$2 begin=$SECONDS
  shift 2
  timeout --signal=INT --kill-after=15 "$limit" "$@" 2>&1 | tee -a "$out/$log"
  echo "== $((SECONDS - begin)) s, ended with ${PIPESTATUS[0]}: $*" | tee -a "$out/$log"
}

# -P: what is tested is what is installed. Warnings of another PyTorch are no failures here.
step 200 tests.log python3 -P -m pytest -p no:cacheprovider -W default -n 8 --dist worksteal -v -rA --durations=10 \
  tests/networks/test_gpu.py tests/plugin/test_device.py \
  tests/rendering/test_transfer.py tests/plugin/test_upscale.py tests/e2e/test_process.py::test_gpu_memory_is_given_back

# A section at a time, so that none is lost with another.
for section in steps end_to_end startup; do
  case $section in steps) minutes=1.25 limit=95 ;; end_to_end) minutes=3 limit=200 ;; *) minutes=0.5 limit=40 ;; esac
  step "$limit" bench.log python3 -m scripts.benchmark --device cuda --minutes "$minutes" --only "$section" \
    --work out/benchmark-gpu
  cp out/benchmark-gpu/gpu.json "$out/" 2>/dev/null
done
ls -l "$out"
