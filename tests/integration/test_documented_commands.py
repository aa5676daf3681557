"""Commands of README.md, docs/ and the recipes are understood, and are the calls they should be.

They are read by samtune's own parser, and each has to become the call that stands in `CALLS`; nothing
is run for that.
"""

import inspect
import io
import re
import shlex
from contextlib import redirect_stdout
from importlib import import_module

import pytest

import samtune
from samtune.cli import COMMANDS, main
from samtune.commands.flags import parse
from samtune.errors import UserError
from samtune.tasks.fit import gather
from tests.integration.documents import DOCS, README, RECIPES, ROOT, blocks, commands

IMAGES = ["my_data/images"]
FETCH_CONFIG = "data/dsb2018/config.yaml"

# Commands as they stand there -> function and arguments
CALLS = {
    "samtune init my_data --out mine.yaml": ("init", {"source": "my_data", "out": "mine.yaml"}),
    "samtune check mine.yaml": ("check", {"source": "mine.yaml"}),
    "samtune fit --config mine.yaml --run runs/mine": (
        "fit", {"config": "mine.yaml", "run": "runs/mine"},
    ),
    "samtune evaluate runs/mine": ("evaluate", {"model": "runs/mine"}),
    "samtune predict runs/mine my_data/images --points 30,40 --out predictions": (
        "predict",
        {"model": "runs/mine", "images": IMAGES, "points": [[30, 40]], "out": "predictions"},
    ),
    "samtune fit --config configs/DOMAIN/SET_nano.yaml --data.path SET --run runs/SET": (
        "fit", {
            "config": "configs/DOMAIN/SET_nano.yaml", "data": {"path": "SET"}, "run": "runs/SET",
        },
    ),
    "samtune evaluate runs/SET --protocols box point": (
        "evaluate", {"model": "runs/SET", "protocols": ["box", "point"]},
    ),
    "samtune evaluate nano --config configs/DOMAIN/SET_nano.yaml --data.path SET --protocols box "
    "point": (
        "evaluate", {
            "model": "nano", "config": "configs/DOMAIN/SET_nano.yaml", "data": {"path": "SET"},
            "protocols": ["box", "point"],
        },
    ),
    "samtune evaluate nano --data.format drawn --data.seed 7 --data.min_area 100 --protocols box "
    "point": (
        "evaluate", {
            "model": "nano", "data": {"format": "drawn", "min_area": 100, "seed": 7},
            "protocols": ["box", "point"],
        },
    ),
    "samtune bench nano mobile_sam_random sam2.1_tiny_random --images my_data/images "
    "--max_images 1": (
        "bench",
        {
            "models": ["nano", "mobile_sam_random", "sam2.1_tiny_random"],
            "images": "my_data/images", "max_images": 1,
        },
    ),
    "samtune bench nano --images my_data/images --max_images 4": (
        "bench", {"models": ["nano"], "images": "my_data/images", "max_images": 4},
    ),
    "samtune fit --config my.yaml --run runs/big --trainer.devices 4 --trainer.strategy ddp": (
        "fit",
        {"config": "my.yaml", "run": "runs/big", "trainer": {"devices": 4, "strategy": "ddp"}},
    ),
    "samtune fit --config my.yaml --run runs/big --trainer.num_nodes 2 --trainer.devices 4 "
    "--trainer.strategy ddp": (
        "fit",
        {
            "config": "my.yaml", "run": "runs/big",
            "trainer": {"num_nodes": 2, "devices": 4, "strategy": "ddp"},
        },
    ),
    "samtune evaluate runs/big": ("evaluate", {"model": "runs/big"}),
    "samtune resume runs/mine": ("resume", {"run": "runs/mine"}),
    "samtune scale runs/mine": ("scale", {"model": "runs/mine"}),
    "samtune calibrate runs/mine": ("calibrate", {"model": "runs/mine"}),
    "samtune compare runs/mine nano --out comparison": (
        "compare", {"models": ["runs/mine", "nano"], "out": "comparison"},
    ),
    "samtune learning-curve --config configs/quickstart.yaml --data.path my_data --sizes 1,all "
    "--seeds 1 --out runs/curve": (
        "learning_curve",
        {
            "config": "configs/quickstart.yaml", "data": {"path": "my_data"}, "sizes": [1, "all"],
            "seeds": 1, "out": "runs/curve",
        },
    ),
    "samtune thresholds runs/mine": ("thresholds", {"model": "runs/mine"}),
    "samtune segment runs/mine my_data/images --out segmentation --overlay": (
        "segment",
        {"model": "runs/mine", "images": IMAGES, "out": "segmentation", "overlay": True},
    ),
    "samtune segment runs/mine scene.tif --out roofs.gpkg": (
        "segment", {"model": "runs/mine", "images": ["scene.tif"], "out": "roofs.gpkg"},
    ),
    "samtune segment runs/mine scene.tif --out named.gpkg --prompts boxes.geojson "
    "--scene.class_column kind": (
        "segment",
        {
            "model": "runs/mine", "images": ["scene.tif"], "out": "named.gpkg",
            "prompts": "boxes.geojson", "scene": {"class_column": "kind"},
        },
    ),
    "samtune segment-volume runs/mine ct.nii.gz --slice 42 --box 100,80,150,130 "
    "--out labels.nii.gz": (
        "segment_volume",
        {
            "model": "runs/mine", "volume": "ct.nii.gz", "slice": 42, "box": [100, 80, 150, 130],
            "out": "labels.nii.gz",
        },
    ),
    "samtune segment-volume runs/mine series/ --prompts prompts.json --out seg.dcm "
    "--segment_code SCT:52988006:Lesion": (
        "segment_volume",
        {
            "model": "runs/mine", "volume": "series/", "prompts": "prompts.json", "out": "seg.dcm",
            "segment_code": "SCT:52988006:Lesion",
        },
    ),
    "samtune segment-volume runs/mine mr.nii.gz --from_labels truth.nii.gz --truth truth.nii.gz "
    "--out labels.nii.gz": (
        "segment_volume",
        {
            "model": "runs/mine", "volume": "mr.nii.gz", "from_labels": "truth.nii.gz",
            "truth": "truth.nii.gz", "out": "labels.nii.gz",
        },
    ),
    "samtune segment-volume runs/mine ct.nii.gz --out everything.nii.gz "
    "--search.pred_iou_thresh 0.6": (
        "segment_volume",
        {
            "model": "runs/mine", "volume": "ct.nii.gz", "out": "everything.nii.gz",
            "search": {"pred_iou_thresh": 0.6},
        },
    ),
    "samtune prelabel runs/mine my_data/images --boxes my_data/boxes.csv "
    "--out prelabels/coco.json": (
        "prelabel",
        {
            "model": "runs/mine", "images": IMAGES, "boxes": "my_data/boxes.csv",
            "out": "prelabels/coco.json",
        },
    ),
    "samtune serve runs/mine --images my_data/images": (
        "serve", {"model": "runs/mine", "images": IMAGES},
    ),
    "samtune export runs/mine --to adapter --out exports/adapter": (
        "export", {"model": "runs/mine", "to": "adapter", "out": "exports/adapter"},
    ),
    "samtune check SOURCE_OR_CONFIG": ("check", {"source": "SOURCE_OR_CONFIG"}),
    "samtune convert SOURCE --to coco|labels|yolo|labelme --out FOLDER": (
        "convert", {"source": "SOURCE", "to": "coco", "out": "FOLDER"},
    ),
    "samtune fetch dsb2018": ("fetch", {"name": "dsb2018"}),
    "samtune fetch brain_sample": ("fetch", {"name": "brain_sample"}),
    f"samtune fit --config {FETCH_CONFIG}": ("fit", {"config": FETCH_CONFIG}),
    "samtune fetch drive --archives datasets.zip": (
        "fetch", {"name": "drive", "archives": ["datasets.zip"]},
    ),
    "samtune init my_data --out mine.yaml --base nano": (
        "init", {"source": "my_data", "out": "mine.yaml", "base": "nano"},
    ),
    "samtune convert my_data --to coco --out my_coco": (
        "convert", {"source": "my_data", "to": "coco", "out": "my_coco"},
    ),
    "samtune fit my_data --data.group_column patient --run runs/mine": (
        "fit", {"data": {"path": "my_data", "group_column": "patient"}, "run": "runs/mine"},
    ),
    "samtune export runs/mine --to adapter --out exports/upload --push USER/NAME --dry_run": (
        "export",
        {
            "model": "runs/mine", "to": "adapter", "out": "exports/upload", "push": "USER/NAME",
            "dry_run": True,
        },
    ),
    "samtune export runs/mine --to adapter --out exports/upload --push USER/NAME --private": (
        "export",
        {
            "model": "runs/mine", "to": "adapter", "out": "exports/upload", "push": "USER/NAME",
            "private": True,
        },
    ),
    "samtune init my_cells --out cells.yaml": ("init", {"source": "my_cells", "out": "cells.yaml"}),
    "samtune init my_ct --out ct.yaml": ("init", {"source": "my_ct", "out": "ct.yaml"}),
    "samtune init my_city --out city.yaml": ("init", {"source": "my_city", "out": "city.yaml"}),
    "samtune init my_frames --out frames.yaml --data.group_column sequence": (
        "init",
        {"source": "my_frames", "out": "frames.yaml", "data": {"group_column": "sequence"}},
    ),
    "samtune init my_land --out land.yaml --data.class_column crop": (
        "init", {"source": "my_land", "out": "land.yaml", "data": {"class_column": "crop"}},
    ),
    "samtune thresholds runs/cells": ("thresholds", {"model": "runs/cells"}),
    "samtune thresholds runs/city": ("thresholds", {"model": "runs/city"}),
    "samtune segment runs/cells my_cells/images --out segmentation --overlay": (
        "segment",
        {
            "model": "runs/cells", "images": ["my_cells/images"], "out": "segmentation",
            "overlay": True,
        },
    ),
    "samtune segment runs/city scene.tif --out roofs.gpkg": (
        "segment", {"model": "runs/city", "images": ["scene.tif"], "out": "roofs.gpkg"},
    ),
    "samtune segment runs/land scene.tif --out fields.gpkg --scene.class_name field": (
        "segment",
        {
            "model": "runs/land", "images": ["scene.tif"], "out": "fields.gpkg",
            "scene": {"class_name": "field"},
        },
    ),
    "samtune predict runs/frames new_frames --boxes 120,80,260,210 --out predictions": (
        "predict",
        {
            "model": "runs/frames", "images": ["new_frames"], "boxes": [[120, 80, 260, 210]],
            "out": "predictions",
        },
    ),
    "samtune segment-volume runs/ct scan.nii.gz --slice 42 --box 100,80,150,130 "
    "--out labels.nii.gz": (
        "segment_volume",
        {
            "model": "runs/ct", "volume": "scan.nii.gz", "slice": 42, "box": [100, 80, 150, 130],
            "out": "labels.nii.gz",
        },
    ),
}  # fmt: skip
# the log of experiments with heads, and the page
CALLS |= {
    "samtune open runs/mine my_data/images": (
        "open", {"model": "runs/mine", "images": ["my_data/images"]},
    ),
    "samtune open runs/mine ct.nii.gz": ("open", {"model": "runs/mine", "images": ["ct.nii.gz"]}),
    "samtune open runs/mine scene.tif": ("open", {"model": "runs/mine", "images": ["scene.tif"]}),
    "samtune loop my_data/images-annotated --model runs/mine": (
        "loop", {"annotations": "my_data/images-annotated", "model": "runs/mine"},
    ),
    "samtune fit --data.path my_data/images-annotated --run runs/next": (
        "fit", {"data": {"path": "my_data/images-annotated"}, "run": "runs/next"},
    ),
    "samtune fit --data.path ct-annotated/volume --run runs/next": (
        "fit", {"data": {"path": "ct-annotated/volume"}, "run": "runs/next"},
    ),
    "samtune fit --config nuclei.yaml --run runs/NAME ...": (
        "fit", {"data": "...", "run": "runs/NAME", "config": "nuclei.yaml"},
    ),
    "samtune fit --config roads.yaml --run runs/roads --budget 6m": (
        "fit", {"run": "runs/roads", "config": "roads.yaml", "budget": "6m"},
    ),
    "samtune fit --config buildings.yaml --run runs/buildings --budget 8m --model.head_lr 0.004": (
        "fit",
        {
            "run": "runs/buildings", "config": "buildings.yaml", "budget": "8m",
            "model": {"head_lr": 0.004},
        },
    ),
    "samtune fit --config groups.yaml --run runs/groups --budget 4m": (
        "fit", {"run": "runs/groups", "config": "groups.yaml", "budget": "4m"},
    ),
}  # fmt: skip
for config, name, budget in (
    ("aerial/buildings_instances", "buildings", "11m"), ("aerial/roads_semantic", "roads", "4m"),
    ("microscopy/nuclei_classes", "groups", "9m"),
):  # fmt: skip
    own = f"configs/{config}.yaml"
    CALLS[f"samtune fit --config {own} --data.path FOLDER --run runs/{name} --budget {budget}"] = (
        "fit",
        {"config": own, "data": {"path": "FOLDER"}, "run": f"runs/{name}", "budget": budget},
    )
for name in ("roads", "buildings", "groups"):
    CALLS[f"samtune evaluate runs/{name} --against none"] = (
        "evaluate", {"model": f"runs/{name}", "against": "none"},
    )  # fmt: skip
for name in ("cells", "ct", "frames", "city", "land"):  # what each page of docs/start begins with
    CALLS[f"samtune check {name}.yaml"] = ("check", {"source": f"{name}.yaml"})
    CALLS[f"samtune fit --config {name}.yaml --run runs/{name}"] = (
        "fit", {"config": f"{name}.yaml", "run": f"runs/{name}"},
    )  # fmt: skip
    CALLS[f"samtune evaluate runs/{name}"] = ("evaluate", {"model": f"runs/{name}"})

for domain, name in (
    ("microscopy", "nuclei"), ("endoscopy", "polyps"), ("aerial", "buildings"),
    ("satellite", "fields"), ("radiology", "brain"),
):  # fmt: skip
    folder = "data/brain_sample" if name == "brain" else "FOLDER"
    grouped = {"group_column": "sequence"} if name == "polyps" else {}
    flag = " --data.group_column sequence" if grouped else ""
    config = f"configs/{domain}/{name}_nano.yaml"
    own = f"samtune fit --config {config} --data.path {folder}{flag} --run runs/{name}"
    budget = {"budget": "400 steps"} if name == "brain" else {}
    CALLS[own + (' --budget "400 steps"' if budget else "")] = (
        "fit", {
            "config": config, "data": {"path": folder, **grouped}, "run": f"runs/{name}", **budget,
        },
    )  # fmt: skip
    CALLS[f"samtune evaluate runs/{name} --protocols box point"] = (
        "evaluate", {"model": f"runs/{name}", "protocols": ["box", "point"]},
    )  # fmt: skip
own = "samtune fit --config configs/DOMAIN/RECIPE.yaml --data.path FOLDER --run runs/RECIPE"
CALLS[own] = (
    "fit", {
        "config": "configs/DOMAIN/RECIPE.yaml", "data": {"path": "FOLDER"}, "run": "runs/RECIPE",
    },
)  # fmt: skip
CALLS["samtune evaluate runs/RECIPE --protocols box point"] = (
    "evaluate", {"model": "runs/RECIPE", "protocols": ["box", "point"]},
)  # fmt: skip

_ALL = "configs/microscopy/nuclei_instances.yaml"
CALLS |= {
    f"samtune fit --config {_ALL} --data.path my_data --run runs/all": (
        "fit", {"config": _ALL, "data": {"path": "my_data"}, "run": "runs/all"},
    ),
    "samtune segment runs/all my_data/images --out all": (
        "segment", {"model": "runs/all", "images": IMAGES, "out": "all"},
    ),
    "samtune evaluate runs/all": ("evaluate", {"model": "runs/all"}),
    f"samtune fit --config {_ALL} --data.path FOLDER --model.head_encoder lora --model.lora.rank 32 "
    "--model.lora.alpha 64 --model.lora.targets all": (
        "fit",
        {
            "config": _ALL, "data": {"path": "FOLDER"},
            "model": {
                "head_encoder": "lora", "lora": {"rank": 32, "alpha": 64, "targets": "all"},
            },
        },
    ),
    "samtune evaluate RUN --against none": ("evaluate", {"model": "RUN", "against": "none"}),
    f"samtune fit --config {_ALL} --data.path my_data --run runs/both --model.head_encoder lora": (
        "fit",
        {
            "config": _ALL, "data": {"path": "my_data"}, "run": "runs/both",
            "model": {"head_encoder": "lora"},
        },
    ),
    "samtune segment runs/all my_data/images --out named --search.classifier classifier.py:name": (
        "segment",
        {
            "model": "runs/all", "images": IMAGES, "out": "named",
            "search": {"classifier": "classifier.py:name"},
        },
    ),
    "samtune evaluate runs/all --classifier classifier.py:name": (
        "evaluate", {"model": "runs/all", "classifier": "classifier.py:name"},
    ),
    "samtune prelabel runs/all my_data/images --out prelabels/coco.json": (
        "prelabel", {"model": "runs/all", "images": IMAGES, "out": "prelabels/coco.json"},
    ),
    f"samtune learning-curve --config {_ALL} --data.path my_data --sizes 5 20 all "
    "--out runs/heads-curve": (
        "learning_curve",
        {
            "config": _ALL, "data": {"path": "my_data"}, "sizes": [5, 20, "all"],
            "out": "runs/heads-curve",
        },
    ),
}  # fmt: skip

LIST = "samtune fetch"  # calls nothing
PAGES = [README, *DOCS.values(), *RECIPES.values()]
LINES = [
    line
    for line in dict.fromkeys(line for page in PAGES for line in commands(page))
    if line != LIST
]


def call_of(line):
    """The name of the function that a command calls, and the arguments that it hands on."""
    _, name, *words = shlex.split(line)
    command = COMMANDS[name]
    module, _, function = command.task.partition(":")
    task = getattr(import_module(f"samtune.tasks.{module}"), function or module)
    given = parse(task, name, [word.split("|")[0] for word in words], command.extra)
    assert name == "models" or getattr(samtune, task.__name__) is task  # that is a command alone
    return task, {key: value for key, value in given.items() if key not in command.extra}


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_pages_is_a_call(line):
    try:
        task, arguments = call_of(line)
    except (UserError, KeyError) as error:
        pytest.fail(f"{line}\n{error}", pytrace=False)
    assert line in CALLS, f"CALLS lacks {line!r}, which is {task.__name__}({arguments})"
    assert (task.__name__, arguments) == CALLS[line]
    inspect.signature(task).bind(**arguments)


def test_fetch_without_a_name_lists_the_data_sets(capsys):
    assert LIST in commands(DOCS["docs/reference/formats.md"])
    assert main(LIST.split()[1:]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("dsb2018", "drive", "licence", "size"))


def test_no_call_is_expected_of_a_command_that_is_gone():
    assert set(CALLS) == set(LINES)


def test_commands_are_found_in_blocks_of_any_kind():
    text = (
        "`samtune no`\n\n    samtune a   # b\n\n```\nsamtune c && samtune d\n"
        "torchrun --nproc-per-node 2 ... -m samtune.cli e \\\n    --f g\nsbatch h\n```\n"
    )
    assert commands(text) == ["samtune c", "samtune d", "samtune e --f g", "samtune a"]


FLAG = r"--[a-z][a-z_.0-9]*[a-z0-9_]"
# of scripts (benchmark, click_latency, page_picture, ship_sharpener), torchrun, sbatch and cvat-cli
OTHERS = {"--threads", "--clicks", "--repeat", "--model", "--only", "--nnodes", "--nproc", "--nodes",
          "--ntasks", "--gpus", "--image", "--click", "--minutes", "--function", "--help",
          "--help-all", "--pictures", "--steps"}  # fmt: skip


@pytest.fixture(scope="module")
def known_flags():
    told = io.StringIO()
    with redirect_stdout(told):
        for command in COMMANDS:
            assert main([command, "--help-all"]) == 0
    return set(re.findall(FLAG, told.getvalue()))


CARD = "samtune/assets/README.md"
FILES = {
    "README.md": README,
    CARD: (ROOT / CARD).read_text(),
    **DOCS,
    **RECIPES,
}


@pytest.mark.parametrize("file", FILES)
def test_every_flag_that_is_mentioned_is_one(file, known_flags):
    mentioned = set(re.findall(FLAG, FILES[file].replace("--help-all", "")))
    assert mentioned <= known_flags | OTHERS


@pytest.mark.parametrize("file", FILES)
def test_commands_within_sentences_are_understood(file):
    text = re.sub(r"```.*?```", "", FILES[file], flags=re.DOTALL)
    for line in re.findall(r"`(samtune [a-z][^`]*)`", text):
        assert line.split()[1] in COMMANDS, line
        if len(line.split()) > 2:  # else the command is named, not called
            call_of(" ".join(line.split()))


def test_flag_key_and_argument_are_one_name(tmp_path):
    told = '`--data.tile 256`, `data: {tile: 256}`,\n`data={"tile": 256}`'
    assert told in DOCS["docs/howto/training.md"]
    flags = parse(samtune.fit, "fit", ["--data.tile", "256"], {})
    assert flags == {"data": {"tile": 256}}
    config = tmp_path / "a.yaml"
    config.write_text("data: {tile: 256}")
    assert gather(config, {}) == gather(None, flags) == gather(None, {"data": {"tile": 256}})
    assert gather(config, {}).data.tile == 256


def test_the_two_commands_of_the_first_screen_exist():
    named = re.findall(r"^(scripts/\w+)", "\n".join(blocks(README)), re.MULTILINE)
    assert named == ["scripts/demo", "scripts/test"]
    assert all((ROOT / name).stat().st_mode & 0o111 for name in named)
