"""What `vnl_mjx.load` gives: a policy in its environment, and the parts of a student.

    python examples/load_and_use.py [RUN]

Rolls out the bundled teacher, or what RUN holds. If that is a student, latents are drawn from its prior too,
and decoded: motion without a reference.
"""

import sys

import jax

import vnl_mjx
from vnl_mjx.tasks.policies import prior_policy
from vnl_mjx.training.rollout import begin, rollout

NUM_ENVS, NUM_STEPS = 4, 50


def play(loaded, policy):
    """Lets a policy act for a second; returns the poses [time, env, nq] and sums over all steps."""

    @jax.jit
    def run(policy, clips, key):
        reset_key, key = jax.random.split(key)
        state = begin(loaded.env.reset(reset_key, NUM_ENVS, clips), policy, NUM_ENVS)
        record = lambda step: step.after.imitation.physics.qpos  # noqa: E731
        return rollout(loaded.env, policy, state, clips, key, NUM_STEPS, record)[1:]

    return run(policy, loaded.clips, jax.random.key(0))


if __name__ == "__main__":
    loaded = vnl_mjx.load(*sys.argv[1:])
    poses, sums = play(loaded, loaded.policy)
    print(
        f"{poses.shape[:2]} steps, environments: reward {sums.reward / sums.num_steps:.2f} per step"
    )
    state = loaded.env.reset(jax.random.key(1), NUM_ENVS, loaded.clips)
    observation = loaded.env.observe(state, loaded.clips)
    print("the teacher acts:", loaded.teacher.act(observation.flat()).action.shape)
    if loaded.student_or_none is not None:
        student, body = loaded.student, observation["proprioception"]
        latent = student.prior(body).sample(jax.random.key(2))
        print("a latent from the prior is decoded:", student.decoder.act(body, latent).shape)
        print("the student acts:", student.act(body, observation["reference"]).shape)
        prior = prior_policy(student.params, student.teacher, student.networks, NUM_ENVS)
        poses, sums = play(loaded, prior)
        print(f"the prior acts: {int(sums.episodes)} episodes ended within {NUM_STEPS} steps")
