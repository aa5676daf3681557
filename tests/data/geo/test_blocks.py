"""Blocks: enough of them, and none of two groups that shows the same ground."""

from pathlib import Path

import numpy as np
import pytest

from samtune.data.geo.blocks import divide
from samtune.data.geo.frames import WGS84, to_crs
from samtune.data.geo.raster import Scene
from samtune.data.geo.shared_ground import find_meeting, lay_on_ground

pytest.importorskip("shapely")
pytest.importorskip("pyproj")
UTM32, UTM33 = "EPSG:32632", "EPSG:32633"
# So far from its central meridian that the two zones meet at an angle of 5 degrees.
EDGE = (716_000.0, 6_000_000.0)


def scene(name, corner=(500_000.0, 6_000_000.0), hw=(256, 256), size=1.0, crs=UTM32, degrees=0.0):
    across, down = np.cos(np.radians(degrees)) * size, np.sin(np.radians(degrees)) * size
    transform = (across, down, corner[0], down, -across, corner[1])
    return Scene(Path(f"{name}.tif"), *hw, crs, transform, (1,), None, False, True)


def in_zone(corner, crs):
    return tuple(to_crs(np.array([corner]), UTM32, crs)[0].tolist())


def row(count, step, **more):
    return [scene(n, (500_000.0 + step * n, 6_000_000.0), **more) for n in range(count)]


def groups_of(scenes, block=0, side=32):
    return [{b.group for b in blocks} for blocks in divide(scenes, block, side, 0)]


def test_scenes_apart_are_named_for_themselves():
    assert groups_of(row(12, 256), side=64) == [{str(n)} for n in range(12)]
    blocks = divide(row(2, 256), 0, 32, 0)
    assert [b.group for b in blocks[1]] == [f"1/{y},{x}" for y in range(3) for x in range(3)]


def test_dates_of_one_place_are_cut_alike():
    dates = divide([scene(n) for n in range(20)], 0, 32, 0)
    assert len({b.group for b in dates[0]}) == 25
    for blocks in dates:
        assert [(b.group, b.whole) for b in blocks] == [(b.group, b.whole) for b in dates[0]]


SETS = {
    "a row of overlapping scenes": row(12, 64),
    "of other pixels": [scene("a"), scene("b", (500_100.0, 5_999_950.0), (40, 40), 7.0)],
    "off by parts of a pixel": [scene("a"), scene("b", (500_050.4, 5_999_979.7))],
    "turned": [scene("a"), scene("b", (500_050.0, 6_000_050.0), degrees=20.0)],
    "of another zone": [
        scene("a", EDGE, (512, 512)),
        scene("b", in_zone((EDGE[0] + 400, EDGE[1]), UTM33), (512, 512), crs=UTM33),
    ],
    "in degrees": [
        scene("a", EDGE), scene("b", in_zone(EDGE, WGS84), (300, 200), 1e-5, "EPSG:4326"),
    ],
    "over the 180th meridian": [
        scene("a", (820_000.0, 7_000_000.0), (9000, 9000), crs="EPSG:32660"),
        scene("b", (175_000.0, 7_000_000.0), (9000, 9000), crs="EPSG:32601"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("scenes", SETS.values(), ids=SETS)
@pytest.mark.parametrize("side", [32, 100])
def test_no_two_groups_show_the_same_ground(scenes, side):
    side = side if scenes[0].height < 9000 else 20 * side
    divided = divide(scenes, 0, side, 8)
    groups = [b.group for blocks in divided for b in blocks for _ in b.windows]
    windows = [
        (s, [w for b in its for w in b.windows]) for s, its in zip(scenes, divided, strict=True)
    ]
    grounds = lay_on_ground(windows, side)
    pairs = find_meeting(grounds, grounds)
    ways = {(groups[one], groups[other]) for one, other in pairs}
    assert all(one == other for one, other in ways)
    assert len(pairs) > len(groups)
    assert len(set(groups)) > 3


def test_what_overlaps_by_a_sliver_is_apart():
    assert groups_of(row(2, 255), block=1000) == [{"0/0,0"}, {"1/0,0"}]
    assert groups_of(row(2, 250), block=1000) == [{"0/0,0"}, {"0/0,0", "1/0,1"}]


def test_many_places_are_groups_with_all_their_scenes():
    places = [(500_000.0 + 300 * n, 6_000_000.0) for n in range(10)]
    scenes = [scene(f"{n}{date}", place) for n, place in enumerate(places) for date in "ab"]
    assert groups_of(scenes) == [{f"{n}a"} for n in range(10) for _ in range(2)]


@pytest.mark.parametrize("crs", ["", 'LOCAL_CS["x",UNIT["metre",1]]'])
def test_scenes_that_lie_nowhere_are_apart(crs):
    found = groups_of([scene("a", crs=crs), scene("b"), scene("c", crs=UTM33)])
    assert not set.intersection(*found)


def test_windows_cover_their_block_and_nothing_else():
    for its in divide(row(3, 100), 0, 32, 8):
        for block in its:
            covered = np.zeros((256, 256), bool)
            for window in block.windows:
                (top, bottom), (left, right) = window.ranges
                covered[top:bottom, left:right] = True
            (top, bottom), (left, right) = block.whole.ranges
            assert covered[top:bottom, left:right].all()
            assert covered.sum() == block.whole.height * block.whole.width
