"""Insects: legs that weigh little beside their body, in a file whose geoms do not collide."""

from dataclasses import replace

from vnl_mjx.config.conversion import from_dict
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.config.walker import body_of_keys
from vnl_mjx.evaluation.body_trial import try_body
from vnl_mjx.walkers.proposal import propose
from vnl_mjx.walkers.walker import build_walker


def insect() -> str:
    """A trunk on six light legs, whose geoms cannot collide, in a file that fuses static bodies."""
    leg = """
      <body name="coxa_{name}" pos="{x} {y} 0">
        <joint name="coxa_{name}" axis="1 0 0"/><geom type="capsule" fromto="0 0 0 0 {out} -0.05" size="0.004"
          mass="1e-5" contype="0" conaffinity="0"/>
        <body name="tarsus_{name}" pos="0 {out} -0.05">
          <joint name="tarsus_{name}" axis="1 0 0"/><geom name="tip_{name}" type="capsule" mass="1e-5"
            fromto="0 0 0 0 0 -0.05" size="0.004" contype="0" conaffinity="0"/>
        </body>
      </body>"""
    every = "".join(
        leg.format(name=f"{side}{row}", x=0.06 * row, y=0.03 * side, out=0.04 * side)
        for side in (1, -1)
        for row in (-1, 0, 1)
    )
    return f"""<mujoco><compiler fusestatic="true" angle="radian"/><worldbody><body name="fly" pos="0 0 0.1">
      <body name="thorax"><geom type="sphere" size="0.03" mass="0.05" contype="0" conaffinity="0"/>{every}
      </body></body></worldbody></mujoco>"""


def test_light_legs_bear_their_body(tmp_path):
    path = tmp_path / "insect.xml"
    path.write_text(insect())
    keys = propose(str(path), "free").keys
    assert keys["root_body"] == "thorax" and len(keys["foot_names"]) == 6
    assert keys["servo_sag"] < 1.0
    walker = build_walker(body_of_keys({"source": str(path), **keys}, tmp_path / "insect.yaml"))
    task = from_dict(ImitationConfig, keys["task"], "task.")

    def sag(servo_sag: float) -> float:
        legs = build_walker(replace(walker.config, servo_sag=servo_sag))
        return try_body(legs, task, 0.2, None, 50.0).held_rad or 0.0

    assert sag(keys["servo_sag"]) < 0.1 < sag(1.0)
