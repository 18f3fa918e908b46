"""Holds the help of each command: a description and examples."""

HELP = {
    "preprocess": """\
Turn recordings into one file of complete reference clips, and account for every frame.

Reads STAC output (.h5, .p), qpos arrays (.npz, .npy, .mat) and NWB; the last path is the file to write.
The command prints what was kept, cut and left out, and why; OUT.quality.json and .png hold the same.

examples:
  vnl-mjx preprocess session.h5 clips.h5
  vnl-mjx preprocess day1.h5 day2.p clips.h5 segmentation_config.clip_s=5 conditioning_config.mirror=true
  vnl-mjx preprocess angles.npy clips.h5 source_config.rate_hz=100 resampling_config.rate_hz=50
  vnl-mjx preprocess arm.h5 clips.h5 walker_config.mjcf_path=arm.yaml
  vnl-mjx preprocess --show-config
""",
    "fit": """\
Fit a body to 3-D key points of cameras: joint angles, places of the markers, and the animal's size.

The body's YAML file says where its markers are (`markers`); they are matched by name. OUT.h5 holds the poses
in the layout of stac-mjx; OUT.fit.json and .png say how well each marker fits, which frames fit badly, and
where left and right look exchanged. --video shows the body with points and markers (OUT.fit.mp4).

examples:
  vnl-mjx fit session.mat poses.h5 --points rat23 --rate 50
  vnl-mjx fit session.mat poses.h5 --points rat23 --rate 50 --clips clips.h5
  vnl-mjx fit mouse.nwb poses.h5 --mjcf mouse.yaml --min-confidence 0.5
""",
    "body": """\
Bring up a body of your own: write its YAML file, draw it, and try it in physics.

The command reads the MJCF, finds root, joints, end effectors and feet, and scales the settings of the task
to the body's length, weight and number of joints. Then it looks for the longest stable time step, holds the
resting pose, and with --motion follows the motion by pose control. It says what would hinder a training.

examples:
  vnl-mjx body robot.xml
  vnl-mjx body robot.xml robot.yaml --motion walk.csv
  vnl-mjx body package:dm_control/locomotion/walkers/assets/fruitfly_v2/fruitfly.xml fly.yaml
  vnl-mjx body torso.xml --root free
""",
    "clips": """\
Cut, choose, join, mirror, mark and export clip files. Any file that can be trained on can be read.

examples:
  vnl-mjx clips split clips.h5 short.h5 --seconds 2
  vnl-mjx clips select clips.h5 some.h5 --clips 0,4-7
  vnl-mjx clips merge day1.h5 day2.h5 all.h5
  vnl-mjx clips mirror clips.h5 both.h5
  vnl-mjx clips hold-out clips.h5 marked.h5 --fraction 0.2 --by recording
  vnl-mjx clips hold-out clips.h5 marked.h5 --names clip_2 'trot*'
  vnl-mjx clips export clips.h5 track_mjx.h5 --to stac
""",
    "gait": """\
Make clips of a rat that walks, trots, turns, stands or rears: kinematic, by inverse kinematics from
published facts on rat gait. The motion is synthetic: no animal was recorded, and each clip says so.

examples:
  vnl-mjx gait walk.h5 --speed 0.2 --turn 0.5 --seconds 5
  vnl-mjx gait trot.h5 --behaviour trot --speed 0.5 --clips 4
  vnl-mjx gait path.h5 --profile 0:0:0,1:0.2:0,3:0.2:1.2,5:0:0
  vnl-mjx gait suite.h5 --suite
""",
    "distill": """\
Distil a track-mjx teacher into a student VAE.

Without arguments it distils the bundled demonstration teacher. Progress, metrics, checkpoints and an
evaluation go into the run folder; the same command with the same run_dir continues a stopped run.

examples:
  vnl-mjx distill
  vnl-mjx distill runs/rat1/teacher clips.h5 run_dir=runs/student
  vnl-mjx distill teacher=CKPT clips=clips.h5
  vnl-mjx distill training_config.num_envs=256 training_config.num_steps=5e6 \\
      'vae_config.encoder_hidden_sizes=[256,256]'
  vnl-mjx distill --config mine.yaml wandb_config.mode=offline
  vnl-mjx distill --preset pulse training_config.num_steps=5e6 training_config.num_envs=512
  vnl-mjx distill --show-config
""",
    "eval": """\
Evaluate a student against its teacher on the same clips and starts, and write a report.

RUN/report gets report.html (opens without a network), metrics.json, tables as CSV, pictures, videos.

examples:
  vnl-mjx eval runs/rat1
  vnl-mjx eval runs/rat1 eval_config.starts_per_clip=8 eval_config.clips=held_out
  vnl-mjx eval runs/rat1 'compare_with=[runs/rat2]' video_config.num_clips=0
  vnl-mjx eval runs/rat1/checkpoints/409600 output_dir=reports/early
  vnl-mjx eval runs/rat1 clips=other.h5
""",
    "compare": """\
Compare several evaluations side by side: metrics, and paired differences from the first with intervals.

examples:
  vnl-mjx compare runs/rat1 runs/rat2
  vnl-mjx compare runs/rat1 reports/early --output reports/both
""",
    "similarity": """\
Compare the layers of one or more records with each other and with neural units, and relate the variability
of the latent to how much it changes the action.

OUT_FOLDER gets report.html, pictures, and a CSV of every number: rdm (cross-validated distances between
behaviours), rsa and ceiling (similarity of these distances), cka (similarity over time, beside that of
shifted time), latent, variability and spread. docs/similarity.md explains them.

examples:
  vnl-mjx similarity session.rec.h5 results
  vnl-mjx similarity early.rec.h5 late.rec.h5 results --quantities 'layers/*,latent/mean'
  vnl-mjx similarity session.rec.h5 results --units sorted.nwb --fold-by session
""",
    "demo": """\
Run every step with the bundled teacher: inspect and evaluate it, distil a student from it, and write a
report of both. This takes under three minutes on two cores, with --quick under two. Each step is a command,
which is printed and can be run by itself.

examples:
  vnl-mjx demo
  vnl-mjx demo --quick --run-dir runs/look
""",
    "train-teacher": """\
Train a teacher by PPO: an intention network that tracks reference clips in physics.

Without arguments it trains on the bundled clips on the CPU. Progress, metrics, checkpoints and an
evaluation go into the run folder; the same command with the same run_dir continues a stopped run. RUN/teacher
holds the teacher for `distill` and track-mjx.

examples:
  vnl-mjx train-teacher
  vnl-mjx train-teacher clips.h5 more.h5 run_dir=runs/rat1
  vnl-mjx train-teacher --preset gpu ppo.num_envs=2048
  vnl-mjx train-teacher init_from=runs/rat1/teacher ppo.guidance=0
  vnl-mjx train-teacher --preset torque --config mine.yaml
  vnl-mjx train-teacher --preset imitate guide_from=runs/rat1/teacher
  vnl-mjx train-teacher --show-config
""",
    "train-task": """\
Train a policy that does a task with the motor primitives of a student: PPO over the student's latent.

The student stays frozen. Where a task can tell which goal a motion serves, the policy is
first cloned from the student on its clips. mode=scratch trains without the student, as a baseline.

examples:
  vnl-mjx train-task joystick
  vnl-mjx train-task go_to_target runs/student run_dir=runs/target
  vnl-mjx train-task joystick mode=scratch ppo.num_steps=300000
  vnl-mjx train-task my_lab.goals:Height residual=tanh
""",
    "eval-task": """\
Measure how well a policy of train-task does its task, in episodes of full length.

Two baselines run beside it: the student at its prior's mean, and no control at all.

examples:
  vnl-mjx eval-task runs/joystick
  vnl-mjx eval-task runs/joystick --episodes 256 --no-video
""",
    "eval-teacher": """\
Measure how well a teacher tracks reference clips, each once from its first frame to its end.

Prints survival, imitation reward as a fraction of its maximum, errors and speed, per
clip and over all clips, and whether the teacher meets its targets.

examples:
  vnl-mjx eval-teacher
  vnl-mjx eval-teacher runs/rat1/teacher --clips clips.h5 --held-out
  vnl-mjx eval-teacher TEACHER --clips clips.h5 --episodes 100 --json figures.json
  vnl-mjx eval-teacher TEACHER --clips clips.h5 --video videos
""",
    "record": """\
Record what a network computes while its body follows a recording: activations of every layer, latents,
actions, torques, contacts, kinematics and tracking errors, one row per control step on the recording's clock.

Clips of one source that abut in time are one stretch, through which the body is carried. After a fall the
body is set on the recording again, and rows are marked until it has settled.

examples:
  vnl-mjx record demo demo activity.h5
  vnl-mjx record runs/student session.h5 activity.h5 --samples 50 --float16
  vnl-mjx record runs/student session.h5 activity.h5 --nwb activity.nwb --session-start 2024-05-01T09:30:00
  vnl-mjx record runs/student session.h5 open.h5 --loop open --only layers latent
  vnl-mjx record runs/student session.h5 noisy.h5 --latent-noise inverted --gain 4
  vnl-mjx record runs/rat1/teacher session.h5 blind.h5 --ablate reference:2-5 --ablate decoder.hidden_0
  vnl-mjx record runs/student session.h5 late.h5 --delay-observation 2
""",
    "export": """\
Write a teacher or a student in a layout that track-mjx reads, and print how it will differ there; or
as functions that need no JAX: encoder, prior and decoder, one file each, with the body as MJCF and a contract
that says how the observation is computed from MuJoCo's data.

track-mjx uses the decoder of a student (`make_decoder_policy_fn`), or its decoder and prior
(`load_prior_checkpoint`). The command reads the files back and compares them with the original.

examples:
  vnl-mjx export runs/rat1/teacher out --to track-mjx
  vnl-mjx export runs/student out --to prior-network
  vnl-mjx export runs/student student_onnx --to onnx
""",
    "encode": """\
Explain recorded units by a record of `vnl-mjx record`: how well kinematics, dynamics, reference and each
layer predict each unit, held out in time, and which of them does so best.

Spikes get Poisson models, continuous signals (calcium, photometry) Gaussian ones. OUT_FOLDER/encoding.csv has
every number, partition.csv the unique share of each group, encoding.json settings, hashes and a summary.
With the word `synthetic` for UNITS the command simulates units of known truth first, as a test of itself.

examples:
  vnl-mjx encode session.rec.h5 session.nwb results
  vnl-mjx encode session.rec.h5 phy_folder results --offset 12.5 --bin 0.04
  vnl-mjx encode session.rec.h5 calcium.npz results --groups kinematics,layers/encoder.hidden_0
  vnl-mjx encode session.rec.h5 synthetic results --units-per-group 20 --mean-rate 10 --seed 1
""",
    "rollout": """\
Make reference clips from the simulation of a teacher that tracks clips: motion that physics
allows and that the teacher can repeat. Clips on which the teacher fails are left out, and listed.

examples:
  vnl-mjx rollout runs/rat1/teacher own.h5 --clips clips.h5
  vnl-mjx rollout TEACHER own.h5 --clips clips.h5 --seconds 5 --compact
  vnl-mjx rollout TEACHER own.h5 --clips clips.h5 --drift 0.3 --attempts 4
""",
    "plan": """\
Make physically feasible reference clips by searching for controls that follow given clips: many
simulations run in short windows, and the nearest continue. This needs no teacher and no training, so a
teacher can be trained on the result from the start. Clips on which the body falls are left out, and listed.

examples:
  vnl-mjx plan gait.h5 planned.h5
  vnl-mjx plan clips.h5 planned.h5 --samples 1024 --seconds 5 --compact
  vnl-mjx plan robot.h5 planned.h5 --samples 512 --window 5 --spread 0.15 --memory 0 --pose-gain 0
""",
    "replay-nan": """\
Show where a step of a training stopped being finite, and replay its simulation.

A training leaves such steps out, counts them (nan/left_out in the metrics) and writes the first of an update
to RUN/nan: the simulation before the step, observation, action, control and model. This command says which of
them was not finite first, and makes the step again in MuJoCo C, substep by substep.

examples:
  vnl-mjx replay-nan runs/rat1/nan/2560.npz
  vnl-mjx replay-nan runs/rat1/nan/2560.npz --json
""",
    "view": """\
Show a clip of a reference file, or a policy that tracks one: a video from the side and from above (mp4,
webm, gif or webp, by the ending of --output), or a page in the browser, where a policy acts live and
sliders move its latent.

Without a path the bundled teacher is shown.

examples:
  vnl-mjx view clips.h5
  vnl-mjx view clips.h5 --clip 3 --output walk.mp4 --contact-sheet walk.png
  vnl-mjx view clips.h5 --clip walk_fast --speed 0.25 --start 1 --seconds 2 --views side
  vnl-mjx view clips.h5 --all --output videos --size 480x960
  vnl-mjx view clips.h5 --clip 3 --browser
  vnl-mjx view runs/rat1 --clip walk_fast
  vnl-mjx view runs/rat1 --who student,teacher --ghost --clips clips.h5 --output both.mp4
  vnl-mjx view runs/rat1 --who prior --seconds 10
  vnl-mjx view runs/rat1 --browser
  vnl-mjx view runs/gaps --seconds 10
""",
    "play": """\
Drive the rat in the browser: sliders and arrow keys set how fast it walks and turns, and a policy of the
task "joystick" obeys with a student's motor primitives. This needs the extra `viewer`.

The student's prior, or the student on a clip, can act in its place. A recording becomes a clip
file, marked as made by simulation.

examples:
  vnl-mjx play
  vnl-mjx play runs/joystick --output recordings --video
  vnl-mjx view recordings/joystick_1.h5
""",
}
