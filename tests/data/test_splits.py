import time
from pathlib import Path

import numpy as np
import pytest

from samtune.data.settings import SplitSettings
from samtune.data.source import Record, Source
from samtune.data.splits import (
    SPLITS,
    divide_as_before,
    split_folders,
    split_source,
    splits_in,
    with_groups,
)
from samtune.errors import UserError


class Listed(Source):
    """Records without files: splitting reads none."""

    def __init__(self, records):
        self.records = records

    def read(self, index):
        raise AssertionError("splitting must not read images")


def source_of(tmp_path, rows, column="split"):
    """A source of (image id, split) pairs, as a manifest names them."""
    return Listed(
        [Record(i, tmp_path / f"{i}.png", columns=(("id", i), (column, s))) for i, s in rows]
    )


def unnamed(tmp_path, number):
    return Listed([Record(f"i{n:03}", tmp_path / f"i{n:03}.png") for n in range(number)])


def grouped(tmp_path, sizes):
    """Images named GROUP_NUMBER, with a column that names the group too."""
    names = [f"g{group}_{n}" for group, size in enumerate(sizes) for n in range(size)]
    records = [
        Record(name, tmp_path / f"{name}.png", columns=(("patient", name.split("_")[0]),))
        for name in names
    ]
    return Listed(records)


def ids(splits):
    return {name: [record.image_id for record in part.records] for name, part in splits.items()}


def sizes(splits):
    return tuple(len(splits[name]) for name in SPLITS)


def test_unnamed_images_are_drawn_by_their_shares(tmp_path):
    splits = split_source(unnamed(tmp_path, 100), SplitSettings())
    assert sizes(splits) == (70, 15, 15)
    assert sorted(name for part in ids(splits).values() for name in part) == [
        f"i{n:03}" for n in range(100)
    ]


def test_the_shares_can_be_set(tmp_path):
    settings = SplitSettings(val_fraction=0.3, test_fraction=0)
    assert sizes(split_source(unnamed(tmp_path, 50), settings)) == (35, 15, 0)


def test_the_same_seed_draws_the_same_splits_and_another_seed_others(tmp_path):
    first, again, other = (
        ids(split_source(unnamed(tmp_path, 100), SplitSettings(seed=seed))) for seed in (3, 3, 4)
    )
    assert first == again
    assert set(first["test"]) != set(other["test"])
    assert set(first["val"]) != set(other["val"])


def test_the_order_of_the_images_does_not_change_their_splits(tmp_path):
    source = unnamed(tmp_path, 60)
    backwards = Listed(source.records[::-1])
    first, second = (ids(split_source(s, SplitSettings())) for s in (source, backwards))
    assert all(set(first[name]) == set(second[name]) for name in SPLITS)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("by", ["column", "regex"])
def test_no_group_is_torn_apart(tmp_path, seed, by):
    group_sizes = np.random.default_rng(seed).integers(1, 9, 25)
    source = grouped(tmp_path, group_sizes)
    by_column = {"group_column": "patient"} if by == "column" else {"group_regex": r"^(.*)_\d+$"}
    splits = ids(split_source(source, SplitSettings(seed=seed, **by_column)))
    groups = [{image_id.split("_")[0] for image_id in splits[name]} for name in SPLITS]
    assert all(groups)
    assert sum(len(group) for group in groups) == len(set.union(*groups)) == 25
    assert sum(len(part) for part in splits.values()) == len(source)


@pytest.mark.parametrize("seed", range(10))
def test_a_group_that_would_overshoot_by_far_is_left_to_train(tmp_path, seed):
    source = grouped(tmp_path, [40, *[3] * 20])
    drawn = split_source(source, SplitSettings(group_column="patient", seed=seed))
    # of 100 images each part wants 15; the group of 40 would make it more than one and a half of that
    assert all(len(drawn[name]) <= 1.5 * 15 + 1 for name in ("val", "test"))
    assert sum(name.startswith("g0_") for name in ids(drawn)["train"]) == 40


def test_a_record_can_bring_its_own_group(tmp_path):
    records = [Record(f"i{n}", tmp_path / f"{n}.png", group=f"g{n % 4}") for n in range(40)]
    splits = ids(split_source(Listed(records), SplitSettings(val_fraction=0.2, test_fraction=0.2)))
    groups = [{int(image_id[1:]) % 4 for image_id in splits[name]} for name in SPLITS]
    assert sum(len(group) for group in groups) == 4


def test_a_manifest_s_group_goes_before_the_volume_or_block_that_a_record_is_of(tmp_path):
    """12 volumes of 3 slices, 4 patients; those of the last one have no row."""
    records = [
        Record(
            f"v{volume:02}/{n}", tmp_path / "v", group=f"v{volume:02}",
            columns=(("group", f"p{volume // 3}"),) if volume < 9 else (),
        )
        for volume in range(12)
        for n in range(3)
    ]  # fmt: skip
    found = groups_of(split_source(Listed(records), SplitSettings(seed=1)))
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 6
    assert set.union(*found.values()) == {"p0", "p1", "p2", "v09", "v10", "v11"}


def with_group_column(tmp_path, rows):
    """Images of (group, split named by the data)."""
    return Listed([
        Record(f"i{n:03}", tmp_path / f"{n}.png", columns=(("split", split), ("group", group)))
        for n, (group, split) in enumerate(rows)
    ])  # fmt: skip


def groups_of(splits):
    return {name: {record.group for record in part.records} for name, part in splits.items()}


def test_a_column_called_group_is_honoured_without_a_setting(tmp_path):
    source = with_group_column(tmp_path, [(f"p{n % 10}", "") for n in range(60)])
    found = groups_of(split_source(source, SplitSettings()))
    assert all(found.values())
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 10


def test_groups_stay_groups_where_named_splits_keep_them_whole(tmp_path):
    rows = [("p1", "train"), ("p1", "train"), ("p2", "val"), ("", "test")]
    found = groups_of(split_source(with_group_column(tmp_path, rows), SplitSettings()))
    assert found == {"train": {"p1"}, "val": {"p2"}, "test": {"i003"}}


def test_kinds_that_named_splits_share_tie_nothing_together(tmp_path):
    rows = [("stain 1", "train"), ("stain 2", "train"), ("stain 1", "val"), ("stain 1", "test")]
    found = groups_of(split_source(with_group_column(tmp_path, rows), SplitSettings()))
    assert found == {"train": {"i000", "i001"}, "val": {"i002"}, "test": {"i003"}}


def test_but_what_is_drawn_beside_a_named_split_keeps_them_together(tmp_path):
    rows = [(f"p{n % 8}", "test" if n < 10 else "") for n in range(50)]
    found = groups_of(split_source(with_group_column(tmp_path, rows), SplitSettings()))
    assert found["train"] | found["val"] == {f"p{n}" for n in range(8)}
    assert not found["train"] & found["val"]
    assert found["test"] == {f"i{n:03}" for n in range(10)}


def test_many_groups_are_drawn_in_no_time(tmp_path):
    source = with_group_column(tmp_path, [(f"p{n // 2}", "") for n in range(40_000)])
    started = time.process_time()
    assert sizes(split_source(source, SplitSettings())) == (28_000, 6_000, 6_000)
    assert time.process_time() - started < 5  # minutes where every group goes through all images


def test_a_regex_without_a_group_takes_the_whole_match(tmp_path):
    settings = SplitSettings(group_regex=r"^g\d+", val_fraction=0.3, test_fraction=0.3)
    splits = ids(split_source(grouped(tmp_path, [4] * 10), settings))
    groups = [{image_id.split("_")[0] for image_id in splits[name]} for name in SPLITS]
    assert [len(group) for group in groups] == [4, 3, 3]


def test_named_splits_are_kept(tmp_path):
    rows = [("a", "val"), ("b", "train"), ("c", "test"), ("d", "train")]
    splits = ids(split_source(source_of(tmp_path, rows), SplitSettings()))
    assert splits == {"train": ["b", "d"], "val": ["a"], "test": ["c"]}


def test_other_words_for_the_splits_are_understood(tmp_path):
    rows = [
        ("a", " Training"),
        ("b", "validation"),
        ("c", "VALID"),
        ("d", "testing "),
        ("e", "Val"),
    ]
    splits = ids(split_source(source_of(tmp_path, rows), SplitSettings()))
    assert splits == {"train": ["a"], "val": ["b", "c", "e"], "test": ["d"]}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Training", "train"),
        ("tr", "train"),
        ("my_train", "train"),
        ("instances_train2017", "train"),
        ("train-00000-of-00005", "train"),
        ("nuclei-train-00000-of-00005", "train"),
        ("validation-000000", "val"),
        ("VALID", "val"),
        ("dev", "val"),
        ("set_val_1", "val"),
        ("Testing", "test"),
        ("images ts", "test"),
    ],
)
def test_a_name_mentions_a_split(name, split):
    assert splits_in([name]) == {name: split}


@pytest.mark.parametrize(
    "name",
    ["", "0000", "trainer", "latest", "ts3f9a", "contest_2", "évalidation", "train_val", "my_dev_kit",
     "training_data", "test_pattern", "validation_annotations"],
)  # fmt: skip
def test_a_name_that_may_mean_something_else_mentions_none(name):
    assert splits_in([name, "readme"]) == {}


def test_names_that_go_on_mention_splits_where_there_are_others():
    names = ["training_data", "validation_annotations", "other"]
    assert splits_in(names) == {"training_data": "train", "validation_annotations": "val"}


def test_folders_of_splits_are_in_order_and_files_are_none(tmp_path):
    for name in ("test", "Validation", "training", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "train.txt").touch()
    found = [(folder.name, split) for folder, split in split_folders(tmp_path).items()]
    assert found == [("training", "train"), ("Validation", "val"), ("test", "test")]
    assert split_folders(tmp_path / "gone") == {}


@pytest.mark.parametrize("word", ["trian", "tr\x00ain", "fold 1"])
def test_a_word_for_no_split_is_named_with_those_that_are(tmp_path, word):
    rows = [("a", "train"), ("b", "val"), ("c", word), ("d", word)]
    with pytest.raises(UserError) as raised:
        split_source(source_of(tmp_path, rows), SplitSettings())
    assert str(raised.value).startswith(
        f"the column 'split' holds {word!r} for {tmp_path / 'c.png'}: expected train, training, tr,"
    )
    lists = write_lists(tmp_path / "lists", train=["a"], val=["c"])
    assert sizes(split_source(source_of(tmp_path, rows), lists)) == (1, 1, 0)


def test_a_word_for_no_split_gives_way_to_the_folder(tmp_path):
    records = [
        Record(f"i{n}", tmp_path / f"{n}.png", split, columns=(("split", value),))
        for n, (split, value) in enumerate([("train", "easy"), ("val", ""), ("train", "dev")])
    ]
    splits = ids(split_source(Listed(records), SplitSettings()))
    assert splits == {"train": ["i0"], "val": ["i1", "i2"], "test": []}


def test_images_in_no_split_are_noted(tmp_path):
    source = source_of(tmp_path, [("a", "train"), ("b", ""), ("c", "val"), ("d", "")])
    source.records.append(Record("e", tmp_path / "e.png"))
    splits = split_source(source, SplitSettings())
    assert ids(splits) == {"train": ["a"], "val": ["c"], "test": []}
    (note,) = splits["train"].notes
    assert note.startswith("3 of 5 images are in no split and are left out, such as b: name theirs")
    assert splits["val"].notes == [note]
    named = [("a", "train"), ("b", "val")]
    assert split_source(source_of(tmp_path, named), SplitSettings())["train"].notes == []


def test_columns_are_found_in_small_letters_and_capitals(tmp_path):
    source = source_of(tmp_path, [("a", "train"), ("b", "val")], column="Fold")
    assert ids(split_source(source, SplitSettings(column="fold")))["val"] == ["b"]
    by_group = split_source(source, SplitSettings(group_column="FOLD", val_fraction=0.5))
    assert {r.group for part in by_group.values() for r in part.records} == {"train", "val"}


def test_the_splits_of_folders_are_kept(tmp_path):
    records = [Record(name, tmp_path / name, split=name) for name in SPLITS]
    assert sizes(split_source(Listed(records), SplitSettings())) == (1, 1, 1)


def test_another_column_can_name_the_splits(tmp_path):
    source = source_of(tmp_path, [("a", "train"), ("b", "val"), ("c", "test")], column="fold")
    splits = ids(split_source(source, SplitSettings(column="fold")))
    assert splits == {"train": ["a"], "val": ["b"], "test": ["c"]}


def test_validation_is_drawn_from_train_where_only_train_and_test_are_named(tmp_path):
    rows = [(f"a{n}", "train" if n < 80 else "test") for n in range(100)]
    splits = ids(split_source(source_of(tmp_path, rows), SplitSettings()))
    assert splits["test"] == [f"a{n}" for n in range(80, 100)]
    assert len(splits["val"]) == 15
    assert sorted(splits["train"] + splits["val"]) == sorted(f"a{n}" for n in range(80))


@pytest.mark.parametrize("seed", range(5))
def test_validation_from_train_tears_no_group_apart(tmp_path, seed):
    source = grouped(tmp_path, [3] * 20)
    source.records = [
        Record(r.image_id, r.path, "train" if n < 48 else "test", columns=r.columns)
        for n, r in enumerate(source.records)
    ]
    settings = SplitSettings(group_column="patient", seed=seed)
    splits = ids(split_source(source, settings))
    train, val, test = ({i.split("_")[0] for i in splits[name]} for name in SPLITS)
    assert test == {"g16", "g17", "g18", "g19"}
    assert len(val) == 3
    assert not train & val


def test_no_test_set_is_drawn_where_train_and_val_are_named(tmp_path):
    rows = [(f"a{n}", "train" if n < 8 else "val") for n in range(10)]
    assert sizes(split_source(source_of(tmp_path, rows), SplitSettings())) == (8, 2, 0)


def test_the_rest_is_train_and_val_where_only_test_is_named(tmp_path):
    rows = [(f"a{n:02}", "test" if n < 20 else "") for n in range(100)]
    splits = split_source(source_of(tmp_path, rows), SplitSettings())
    assert sizes(splits) == (65, 15, 20)


def test_a_single_group_is_train(tmp_path):
    source = grouped(tmp_path, [9])
    assert sizes(split_source(source, SplitSettings(group_column="patient"))) == (9, 0, 0)


def test_train_keeps_an_image_however_large_the_other_shares_are(tmp_path):
    settings = SplitSettings(val_fraction=0.5, test_fraction=0.5)
    splits = split_source(unnamed(tmp_path, 10), settings)
    assert sizes(splits) == (1, 4, 5)


def write_lists(folder, **lists):
    folder.mkdir(exist_ok=True)
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n\n")
    return SplitSettings(folder=folder)


def test_lists_name_the_splits_by_id_or_by_file(tmp_path):
    settings = write_lists(
        tmp_path / "lists", train=["i000", "i003.png"], val=[" i001 "], test=["i002"]
    )
    splits = ids(split_source(unnamed(tmp_path, 4), settings))
    assert splits == {"train": ["i000", "i003"], "val": ["i001"], "test": ["i002"]}


def test_lists_may_be_called_by_other_words(tmp_path):
    settings = write_lists(tmp_path / "lists", training=["i000"], valid=["i001"], readme=["none"])
    splits = ids(split_source(unnamed(tmp_path, 4), settings))
    assert splits == {"train": ["i000"], "val": ["i001"], "test": []}


def test_lists_win_over_the_manifest(tmp_path):
    settings = write_lists(tmp_path / "lists", train=["b"], val=["a"])
    splits = ids(split_source(source_of(tmp_path, [("a", "train"), ("b", "test")]), settings))
    assert splits == {"train": ["b"], "val": ["a"], "test": []}


def test_images_that_no_list_names_are_left_out(tmp_path):
    settings = write_lists(tmp_path / "lists", train=["i000", "i001"], val=["i002"])
    assert sizes(split_source(unnamed(tmp_path, 10), settings)) == (2, 1, 0)


def test_validation_is_drawn_from_a_train_list(tmp_path):
    settings = write_lists(tmp_path / "lists", train=[f"i{n:03}" for n in range(20)])
    assert sizes(split_source(unnamed(tmp_path, 20), settings)) == (17, 3, 0)


def test_an_unknown_id_in_a_list_is_named(tmp_path):
    settings = write_lists(tmp_path / "lists", train=["i000", "i999"])
    with pytest.raises(UserError, match="lists names i999, which is no image id"):
        split_source(unnamed(tmp_path, 3), settings)


def test_an_id_in_two_lists_is_named(tmp_path):
    settings = write_lists(tmp_path / "lists", train=["i000", "i001"], test=["i001"])
    with pytest.raises(UserError, match="i001"):
        split_source(unnamed(tmp_path, 3), settings)


def test_a_folder_without_lists_is_named(tmp_path):
    with pytest.raises(UserError, match=r"lists has no \*\.txt lists"):
        split_source(unnamed(tmp_path, 3), write_lists(tmp_path / "lists"))


def test_an_unknown_group_column_is_named_with_those_there_are(tmp_path):
    source = source_of(tmp_path, [("a", "")])
    with pytest.raises(UserError, match="no manifest column 'slide' for a: found id, split"):
        split_source(source, SplitSettings(group_column="slide"))


def test_a_group_column_without_a_manifest_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match=r"'slide' for i000: found no manifest\.csv"):
        split_source(unnamed(tmp_path, 3), SplitSettings(group_column="slide"))


def test_an_unknown_split_column_is_named(tmp_path):
    source = source_of(tmp_path, [("a", "train"), ("b", "test")])
    with pytest.raises(UserError, match="'fold'"):
        split_source(source, SplitSettings(column="fold"))


def test_a_regex_that_does_not_match_names_the_image(tmp_path):
    with pytest.raises(UserError, match=r"group_regex .* does not match the image i000"):
        split_source(unnamed(tmp_path, 3), SplitSettings(group_regex=r"^(.*)_\d+$"))


def test_a_broken_regex_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="group_regex"):
        split_source(unnamed(tmp_path, 3), SplitSettings(group_regex="("))


class Named(Source):
    """Records without pixels."""

    def __init__(self, *names):
        self.records = [Record(name, Path(f"{name}.png")) for name in names]

    def read(self, index):
        raise AssertionError("splitting must not read images")


def ids_of(sources):
    return {name: [record.image_id for record in its.records] for name, its in sources.items()}


def test_images_are_divided_as_before_though_some_were_added_and_others_drawn_elsewhere():
    now = {"train": Named("c", "new", "a"), "val": Named("d"), "test": Named("b")}
    before = {"train": ["a", "b"], "val": ["c"], "test": ["d", "gone"]}
    found = divide_as_before(now, before)
    assert ids_of(found.sources) == {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    assert found.sources["train"].image_file(1) == Path("b.png")
    assert (found.added, found.missing) == (["new"], {"test": ["gone"]})


def test_splits_that_have_not_changed_are_the_same_sources():
    now = {"train": Named("a", "b"), "val": Named("a")}
    found = divide_as_before(now, ids_of(now))
    assert found.sources == now
    assert (found.added, found.missing) == ([], {})


def test_names_that_are_there_twice_cannot_be_divided_as_before():
    now = {"train": Named("a", "b"), "val": Named("a")}
    with pytest.raises(UserError, match="several images have the same name"):
        divide_as_before(now, {"train": ["a"], "val": ["b"]})


class TestCopies:
    """Roboflow's augmented copies of one picture, which share its name but for a hash."""

    def source(self, folder, count=12, copies=3):
        names = [
            f"img{n:02d}_jpg.rf.{100 * n + c:032x}"
            for n in range(count) for c in range(copies)
        ]  # fmt: skip
        return Listed([Record(name, folder / f"{name}.jpg") for name in names])

    def test_fall_into_one_split(self, tmp_path):
        for seed in range(5):
            drawn = split_source(self.source(tmp_path), SplitSettings(seed=seed))
            where = {}
            for split, source in drawn.items():
                for record in source.records:
                    where.setdefault(record.image_id.split("_jpg.rf.")[0], set()).add(split)
                    assert record.group == record.image_id.split(".rf.")[0]
            assert len(where) == 12
            assert all(len(splits) == 1 for splits in where.values())
            assert {split for splits in where.values() for split in splits} == set(drawn)

    def test_a_picture_alone_is_its_own_group(self, tmp_path):
        (splits,) = [split_source(self.source(tmp_path, copies=1), SplitSettings())]
        records = [record for source in splits.values() for record in source.records]
        assert all(record.group == record.image_id for record in records)

    def test_copies_in_two_named_splits_are_of_one_group(self, tmp_path):
        names = [f"{split}/a_jpg.rf.{n:032x}.jpg" for n, split in enumerate(("train", "val"))]
        sources = {
            split: Listed([Record(name, tmp_path / name, split)])
            for name, split in zip(names, ("train", "val"), strict=True)
        }
        groups = {
            r.group for s in with_groups(sources, SplitSettings()).values() for r in s.records
        }
        assert groups == {"a_jpg"}


def test_of_two_groups_one_is_to_validate_on_and_none_for_testing():
    records = [Record(f"{group}{n}", Path("x"), group=group) for group in "ab" for n in range(5)]
    sizes = {n: len(each) for n, each in split_source(Listed(records), SplitSettings()).items()}
    assert sizes == {"train": 5, "val": 5, "test": 0}
    splits = split_source(Listed(records), SplitSettings(val_fraction=0))
    assert {name: len(each) for name, each in splits.items()} == {"train": 5, "val": 0, "test": 5}
