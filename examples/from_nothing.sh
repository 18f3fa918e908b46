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
vnl-mjx train-teacher "$folder/clips.h5" "run_dir=$folder/teacher"

# 3. A student of it.
vnl-mjx distill "$folder/teacher/teacher" "$folder/clips.h5" "run_dir=$folder/student"

# 4. A task by the student's primitives: follow a commanded speed and turning rate.
vnl-mjx train-task joystick "$folder/student" "run_dir=$folder/joystick"
