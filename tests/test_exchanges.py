"""What devices exchange, against programs worked by hand."""

import pytest

from benchmarks.exchanges import exchanges

PROGRAM = """HloModule jit_learn, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%minibatch (p: (s32[], f32[3,4])) -> (s32[], f32[3,4]) {
  %p = (s32[], f32[3,4]{1,0}) parameter(0)
  %grads = (f32[3,4]{1,0}, bf16[5]{0}) all-reduce(%x, %y), to_apply=%sum
  ROOT %t = (s32[], f32[3,4]{1,0}) tuple(%i, %g)
}

%epoch (p: (s32[], f32[3,4])) -> (s32[], f32[3,4]) {
  %p = (s32[], f32[3,4]{1,0}) parameter(0)
  %w = (s32[], f32[3,4]{1,0}) while(%p), body=%minibatch, backend_config={"known_trip_count":{"n":"5"}}
  ROOT %finite = pred[] all-reduce(%ok), to_apply=%sum
}

ENTRY %main (x: f32[3,4]) -> f32[3,4] {
  %x = f32[3,4]{1,0} parameter(0)
  %w = (s32[], f32[3,4]{1,0}) while(%x), body=%epoch, backend_config={"known_trip_count":{"n":"2"}}
  %all = f32[8]{0} all-gather(%part), dimensions={0}
  ROOT %r = f32[3,4]{1,0} copy(%x)
}
"""


def test_loops_count_as_often_as_they_turn():
    found = exchanges(PROGRAM)
    assert found.calls == {"all-reduce": 2 * (5 + 1), "all-gather": 1}
    assert found.num_bytes == {"all-reduce": 2 * (5 * (12 * 4 + 5 * 2) + 1), "all-gather": 32}


def test_a_loop_that_turns_an_unknown_number_of_times_is_refused():
    with pytest.raises(ValueError, match="minibatch exchanges data an unknown number of times"):
        exchanges(PROGRAM.replace('{"n":"5"}', "{}"))
