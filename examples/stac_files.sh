#!/usr/bin/env bash
# From recordings fitted by STAC to a teacher and a student.
#
#   uv run bash examples/stac_files.sh FOLDER SESSION.h5 [SESSION.h5 ...]
set -euo pipefail
folder=$1 sessions=("${@:2}")
mkdir -p "$folder"

# 1. What is in a recording: frames, rate, joints, and whether the body fits.
vnl-mjx inspect "${sessions[0]}"

# 2. Clips of 5 s, one of five held out. What was kept and left out is printed, and written beside the file.
vnl-mjx preprocess "${sessions[@]}" "$folder/clips.h5" \
  segmentation_config.clip_s=5 split_config.held_out_fraction=0.2

# 3. A teacher that follows them in physics, and how well it does on the held-out clips.
vnl-mjx train-teacher "$folder/clips.h5" "run_dir=$folder/teacher"
vnl-mjx eval-teacher "$folder/teacher/teacher" --clips "$folder/clips.h5" --held-out

# 4. A student of it, and a report of both: open FOLDER/student/report/report.html.
vnl-mjx distill "$folder/teacher/teacher" "$folder/clips.h5" "run_dir=$folder/student"
vnl-mjx eval "$folder/student"
