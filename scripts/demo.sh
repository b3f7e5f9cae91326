#!/usr/bin/env bash
# Upscale a real clip 3.5 times and to 240 fps, encode it with its sound, and put it beside what resizing would give.
EXTRAS=demo
source "$(dirname "$0")/environment.sh"
mkdir -p out
echo "Upscaling tests/data/bunny.mp4 (256x144, 25 fps) to 3.5 times its size and 240 fps ..." >&2
vspipe --progress --container y4m scripts/demo/demo.vpy - |
  ffmpeg -hide_banner -loglevel error -y -i - -i tests/data/bunny.mp4 -map 0:v -map 1:a \
    -c:v libx264 -crf 16 -preset medium -pix_fmt yuv420p \
    -color_range tv -colorspace bt709 -color_primaries bt709 -color_trc bt709 \
    -c:a copy -movflags +faststart out/demo.mp4
vspipe --container y4m scripts/demo/side_by_side.vpy - |
  ffmpeg -hide_banner -loglevel error -y -i - -frames:v 1 out/side_by_side.png
echo "Wrote out/demo.mp4 and out/side_by_side.png" >&2
