"""Arguments of `encode`."""

import argparse
from pathlib import Path

from vnl_mjx.commands import argument_types
from vnl_mjx.commands.data_arguments import add_overwrite


def encode(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `encode`."""
    add = parser.add_argument
    add("record", type=Path, metavar="RECORD", help="file of `vnl-mjx record`")
    units = "units: NWB, a folder of Phy, .npz, .mat, HDF5 or .csv; or the word synthetic"
    add("units", type=Path, metavar="UNITS", help=units)
    add("output", type=Path, metavar="OUT_FOLDER", help="folder of the tables to write")
    groups = "groups of features: kinematics, layers/NAME, ... "
    groups += "(default: kinematics, dynamics, reference and each layer)"
    add("--groups", type=argument_types.names, metavar="G,G", help=groups)
    width = "width of the bins, a multiple of a row's duration (default: one row)"
    add("--bin", type=argument_types.positive, metavar="S", help=width)
    offset = "seconds to add to the units' times to get the record's clock (default: 0)"
    add("--offset", type=float, default=0.0, metavar="S", help=offset)
    session = "session of the record that the units belong to, if it has several"
    add("--session", metavar="NAME", help=session)
    add(
        "--units",
        dest="units_named",
        type=argument_types.names,
        metavar="N,N",
        help="only the units of these names",
    )
    lags = "lags of the features, as in --lags=0,0.1: the unit follows by so much (default: 0)"
    add("--lags", type=argument_types.seconds, default=(0.0,), metavar="S,S", help=lags)
    how = parser.add_argument_group("of the fits").add_argument
    components = "principal components of each group (default: 20)"
    how("--components", type=argument_types.at_least_one, default=20, metavar="N", help=components)
    how(
        "--folds",
        type=argument_types.several,
        default=5,
        metavar="N",
        help="outer test blocks (default: 5)",
    )
    shifts = "circular shifts of the null; p-values are no smaller than 1 / (N + 1) (default: 200)"
    how("--shifts", type=argument_types.at_least_one, default=200, metavar="N", help=shifts)
    gap = "left out around test blocks (default: 1.5 times the autocorrelation time)"
    how("--gap", type=argument_types.not_negative, metavar="S", help=gap)
    clock = "lags of the units' clock that are searched, both ways (default: 0.5)"
    how("--max-lag", type=argument_types.not_negative, default=0.5, metavar="S", help=clock)
    how(
        "--no-partition",
        action="store_true",
        help="leave out the model of all groups, and it without each",
    )
    seed = "of shifts and synthetic units (default: 0)"
    how("--seed", type=argument_types.count, default=0, metavar="N", help=seed)
    how(
        "--jobs",
        type=argument_types.count,
        default=0,
        metavar="N",
        help="threads (default: one per core)",
    )
    made = parser.add_argument_group("of synthetic units").add_argument
    each = "units of each group, and as many that nothing drives (default: 20)"
    made("--units-per-group", type=argument_types.at_least_one, default=20, metavar="N", help=each)
    made(
        "--mean-rate",
        type=argument_types.positive,
        default=10.0,
        metavar="HZ",
        help="spikes per second (default: 10)",
    )
    depth = "standard deviation of the logarithm of the rate (default: 0.7)"
    made("--depth", type=argument_types.not_negative, default=0.7, metavar="X", help=depth)
    add_overwrite(parser, "result")
