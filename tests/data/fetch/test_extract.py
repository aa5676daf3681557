"""Archives as they should be, and as somebody who means harm would make them."""

import io
import stat
import tarfile
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samtune.data.fetch.extract import extract, extract_nested, require_space
from samtune.errors import UserError

FILES = {"a/1.txt": b"one", "a/with space.txt": b"two", "b/größe_日本.txt": b"three"}


def make_zip(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path, files, mode="w:gz", **facts):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in facts.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return path


def unpacked(folder):
    return {
        f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()
    }


MAKERS = {
    "zip": lambda folder, files: make_zip(folder / "x.zip", files),
    "tar": lambda folder, files: make_tar(folder / "x.tar", files, "w"),
    "tar.gz": lambda folder, files: make_tar(folder / "x.tar.gz", files),
    "tar.xz": lambda folder, files: make_tar(folder / "x.tar.xz", files, "w:xz"),
}


@pytest.fixture(params=MAKERS)
def make(request, tmp_path):
    return lambda files: MAKERS[request.param](tmp_path, files)


def test_files_come_out_as_they_went_in(make, tmp_path):
    extract(make(FILES), tmp_path / "out")
    assert unpacked(tmp_path / "out") == FILES


def test_only_what_is_wanted_comes_out(make, tmp_path):
    extract(make(FILES), tmp_path / "out", lambda name: name.startswith("a/"))
    assert set(unpacked(tmp_path / "out")) == {"a/1.txt", "a/with space.txt"}


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/srv/x", "..\\x", "C:\\x", "C:/x", "\\\\host\\share\\x"]
)
def test_names_that_lead_out_are_refused(make, tmp_path, name):
    with pytest.raises(UserError, match="leads out of its folder"):
        extract(make({"good": b"1", name: b"evil"}), tmp_path / "in" / "out")
    assert not any(f.name.endswith("x") for f in tmp_path.rglob("*") if f.suffix == "")


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "../../x"),
        (tarfile.SYMTYPE, "inside"),
        (tarfile.LNKTYPE, "inside"),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_links_and_devices_of_tar_are_refused(tmp_path, kind, target):
    archive = make_tar(tmp_path / "x.tar", {"evil": b""}, "w", type=kind, linkname=target)
    with pytest.raises(UserError, match="a link or a device"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out" / "evil").exists()


def test_links_of_zip_are_refused(tmp_path):
    info = zipfile.ZipInfo("evil")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match="a link or a device"):
        extract(tmp_path / "x.zip", tmp_path / "out")


def test_a_bomb_is_stopped(make, tmp_path):
    bomb = make({"1": bytes(10_000), "2": bytes(10_000), "3": bytes(10_000)})
    with pytest.raises(UserError, match="made to fill the disk"):
        extract(bomb, tmp_path / "out", most_bytes=25_000)
    assert sum(map(len, unpacked(tmp_path / "out").values())) <= 25_000


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"1": bytes(1_000_000)})
    content = path.read_bytes()
    # the size, as four bytes, stands in the local header and in the directory
    path.write_bytes(content.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(UserError):
        extract(path, tmp_path / "out", most_bytes=25_000)
    assert sum(map(len, unpacked(tmp_path / "out").values())) <= 25_000


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.9])
def test_half_an_archive_is_said_to_be_one(make, tmp_path, keep):
    archive = make({str(n): bytes(range(256)) * 40 for n in range(20)})
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UserError, match=r"cannot be unpacked|no zip or tar archive"):
        extract(archive, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04"])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(UserError, match="no zip or tar archive"):
        extract(tmp_path / "x.zip", tmp_path / "out")


@pytest.mark.parametrize(
    ("head", "kind"), [(b"Rar!\x1a\x07", "RAR"), (b"7z\xbc\xaf\x27\x1c", "7-Zip")]
)
def test_other_archives_are_named(tmp_path, head, kind):
    (tmp_path / "x").write_bytes(head + bytes(100))
    with pytest.raises(UserError, match=f"is a {kind} archive.*--archives"):
        extract(tmp_path / "x", tmp_path / "out")


def test_an_encrypted_zip_is_said(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a": b"secret"}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag of the local header, and that of the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be unpacked.*password"):
        extract(path, tmp_path / "out")


def test_a_name_that_is_file_and_folder_is_said(tmp_path):
    with pytest.raises(UserError, match="cannot be unpacked"):
        extract(make_zip(tmp_path / "x.zip", {"a": b"1", "a/b": b"2"}), tmp_path / "out")


def test_leftovers_of_macos_stay_out(tmp_path):
    files = {"a.png": b"1", "__MACOSX/a.png": b"2", "._a.png": b"3", "b/.DS_Store": b"4"}
    extract(make_zip(tmp_path / "x.zip", files), tmp_path / "out")
    assert unpacked(tmp_path / "out") == {"a.png": b"1"}


def test_archives_in_archives(tmp_path):
    inner = make_zip(tmp_path / "training.zip", {"training/1.png": b"1"}).read_bytes()
    extract(make_zip(tmp_path / "x.zip", {"data/training.zip": inner}), tmp_path / "out")
    extract_nested(tmp_path / "out")
    assert unpacked(tmp_path / "out") == {"data/training/1.png": b"1"}


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "x.zip", FILES)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("samtune.data.fetch.extract.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match="choose another --out"):
        require_space(path, tmp_path)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", "~", "é", " "]), min_size=1))
def test_nothing_is_ever_written_outside(tmp_path_factory, name):
    root = tmp_path_factory.mktemp("root")
    archive = make_tar(root / "x.tar", {"".join(name): b"1"}, "w")
    try:
        extract(archive, root / "in" / "out")
    except UserError:
        return
    outside = {f for f in root.rglob("*") if f.is_file()} - {archive}
    assert all(f.resolve().is_relative_to(root / "in" / "out") for f in outside)
