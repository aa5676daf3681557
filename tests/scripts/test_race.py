"""Every recipe of other tools runs beside the default on the same data, and is ranked with it."""

import pytest

CONFIG = "configs/aerial/buildings_nano.yaml"


@pytest.fixture(scope="module")
def race(load_script):
    return load_script("race")


def test_peers_keep_the_config_s_base_and_data_and_bring_their_own_training(race):
    racing = race.entrants(CONFIG)
    assert set(racing) == {"default", "medsam", "micro_sam", "sam2", "samed"}
    for name, settings in racing.items():
        assert settings["base"] == "nano", name
        assert settings["data"]["tile"] == 208, name
        assert settings["data"].get("recipe", "default") == name, name
        assert ("rank" in settings["model"].get("lora", {})) == (name in ("default", "samed")), name


@pytest.mark.slow
def test_a_race_prints_a_ranking_and_what_was_forgotten(race, discs, tmp_path, capsys, monkeypatch):
    out, all_of_them = tmp_path / "race", race.entrants(CONFIG)
    few = {name: all_of_them[name] for name in ("default", "samed")}
    monkeypatch.setattr(race, "entrants", lambda config: few)
    assert race.main(str(discs), config=CONFIG, budget="2 steps", out=out, protocols=["box"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line.split(" | ") for line in lines if line.startswith("| all")]
    assert [row[1] for row in table] == ["1", "2", "3"]
    assert table[0][-1] == "best |"
    forgotten = [line for line in lines if line.startswith("| samed |")]
    assert len(forgotten) == 1  # and what it changed of drawn pictures
    assert (out / "comparison" / "comparison.html").exists()
