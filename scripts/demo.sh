#!/usr/bin/env bash
# Upscale a real clip 3.5 times and to 240 fps, encode it with its sound, and put it beside what resizing would give.
EXTRAS=demo
source "$(dirname "$0")/environment.sh"
exec python -m scripts.demo "$@"
