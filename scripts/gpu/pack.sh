#!/usr/bin/env bash
# Put what training needs into .gpu/ for a machine that gets nothing else:  bash scripts/gpu/pack.sh DATA [RUN]
#
# .gpu/data      photographs, training clips (long ones cut) and validation clips from DATA
# .gpu/packages  PyAV, which decodes clips
# .gpu/state     the state of RUN in parts, where there is one, to go on from
#
# Each of them, with the repository's own files, is within the 64 MiB that are sent at a time.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1
run=${2:-}
rm -rf .gpu
mkdir -p .gpu/data/photos .gpu/data/clips .gpu/data/val .gpu/packages .gpu/state
cp "$data"/train/photos/*.jpg .gpu/data/photos/
cp "$data"/val/*.mp4 .gpu/data/val/
for clip in "$data"/train/clips/*.mp4; do
  # a stretch of about 1.1 MB: stream copies, nothing is encoded again
  ffmpeg -v error -y -i "$clip" -map 0:v -c copy -fs 1100000 ".gpu/data/clips/$(basename "$clip")"
done
python3 -m pip download --quiet --only-binary :all: --no-deps --dest .gpu/packages av
if [ -n "$run" ] && [ -f "$run/state.pt" ]; then
  split --bytes=15M "$run/state.pt" .gpu/state/part.
fi
own=$(git ls-files -z | xargs -0 du -cb | awk 'END { print $1 }')
for part in .gpu/data .gpu/packages .gpu/state; do
  size=$(du -sb "$part" | cut -f 1)
  echo "$part: $((size >> 20)) MiB, with the repository's own files $((size + own >> 20)) MiB" >&2
  if [ $((size + own)) -gt $((64 << 20)) ]; then
    echo "$part is too large to be sent" >&2
    exit 1
  fi
done
