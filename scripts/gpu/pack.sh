#!/usr/bin/env bash
# Put what training needs into .gpu/ for a machine that gets nothing else:  bash scripts/gpu/pack.sh DATA [RUN]
#
# .gpu/data    photographs, training clips (long ones cut, to keep all below 60 MB) and validation clips from DATA
# .gpu/state   the state of RUN in parts, where there is one, to go on from
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1
run=${2:-}
rm -rf .gpu
mkdir -p .gpu/data/photos .gpu/data/clips .gpu/data/val .gpu/state
cp "$data"/train/photos/*.jpg .gpu/data/photos/
cp "$data"/val/*.mp4 .gpu/data/val/
for clip in "$data"/train/clips/*.mp4; do
  # a stretch of about 1.6 MB: stream copies, nothing is encoded again
  size=$(stat -c %s "$clip")
  seconds=$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$clip")
  length=$(awk "BEGIN { s = $seconds * 1600000 / $size; print (s < $seconds ? s : $seconds) }")
  ffmpeg -v error -y -i "$clip" -map 0:v -c copy -t "$length" ".gpu/data/clips/$(basename "$clip")"
done
if [ -n "$run" ] && [ -f "$run/state.pt" ]; then
  split --bytes=15M "$run/state.pt" .gpu/state/part.
fi
du -sh .gpu/data .gpu/state >&2
