#!/usr/bin/env bash
# Without any data: made gait, a teacher, a student, and a task by the student's primitives.
#
#   uv run bash examples/from_nothing.sh FOLDER
set -euo pipefail
folder=$1

# 1. Kinematic clips of a rat that walks and turns, from published facts on rat gait. No animal moved so.
mkdir -p "$folder"
vnl-mjx gait "$folder/walk.h5" --speed 0.2 --seconds 5
vnl-mjx gait "$folder/left.h5" --speed 0.2 --turn 0.5 --seconds 5
vnl-mjx gait "$folder/right.h5" --speed 0.2 --turn -0.5 --seconds 5
vnl-mjx clips merge "$folder/walk.h5" "$folder/left.h5" "$folder/right.h5" "$folder/clips.h5"

# 2. A teacher that follows them in physics.
vnl-mjx train-teacher "run_dir=$folder/teacher" "reference_config.paths=[$folder/clips.h5]"

# 3. A student of it.
vnl-mjx distill "run_dir=$folder/student" \
  "teacher_config.checkpoint_path=$folder/teacher/teacher" \
  "teacher_config.reference_data_path=$folder/clips.h5"

# 4. A task by the student's primitives: follow a commanded speed and turning rate.
vnl-mjx train-task joystick "run_dir=$folder/joystick" "low_level=$folder/student"
