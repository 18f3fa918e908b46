#!/usr/bin/env bash
# From a track-mjx checkpoint and its clips to a student, a report, and files for other software.
#
#   uv run bash examples/checkpoint.sh FOLDER CHECKPOINT CLIPS.h5
set -euo pipefail
folder=$1 checkpoint=$2 clips=$3

# 1. What the checkpoint is: its networks, its task, what had to be assumed.
vnl-mjx inspect "$checkpoint"

# 2. How well it follows the clips in our environment. Little reward here means other clips, another body or rate.
vnl-mjx eval-teacher "$checkpoint" --clips "$clips"

# 3. A student: it acts, the teacher labels what it meets, and a prior learns where the latent goes.
vnl-mjx distill "$checkpoint" "$clips" "run_dir=$folder/student"

# 4. The report: FOLDER/student/report/report.html.
vnl-mjx eval "$folder/student"

# 5. Encoder, prior and decoder as NumPy arrays, with what they read; --to onnx needs the extra `onnx`.
vnl-mjx export "$folder/student" "$folder/functions" --to npz
