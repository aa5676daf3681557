"""Headers may refer to voxels beside them, and to nothing else on the computer."""

import numpy as np
import pytest

from samtune.data.volumes.voxels import read_geometry, read_voxels
from samtune.errors import UserError

pytest.importorskip("SimpleITK")
VOXELS = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
MHD = (
    "ObjectType = Image\nNDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\n"
    "ElementSpacing = 1 1 1\nElementDataFile = {}\n"
)
NHDR = (
    "NRRD0004\n# a = comment: with signs\ntype: uint8\ndimension: 3\nsizes: 3 4 5\n"
    "encoding: raw\nspace: left-posterior-superior\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\ndata file: {}\n"
)
HEADERS = {".mhd": MHD, ".mha": MHD, ".nhdr": NHDR, ".nrrd": NHDR}


@pytest.fixture
def header(tmp_path):
    """Writes a header in a folder with voxels in it, below it and outside it."""
    folder = tmp_path / "data"
    (folder / "raw").mkdir(parents=True)
    for place in (folder, folder / "raw", tmp_path):
        (place / "a b.raw").write_bytes(VOXELS.tobytes())

    def write(suffix, name):
        path = folder / f"x{suffix}"
        path.write_text(HEADERS[suffix].format(name))
        return path

    return write


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
@pytest.mark.parametrize("name", ["a b.raw", "raw/a b.raw"])
def test_files_beside_and_below_are_read(header, suffix, name):
    np.testing.assert_array_equal(read_voxels(header(suffix, name)), VOXELS.T[::-1, ::-1])


@pytest.mark.parametrize("suffix", HEADERS)
@pytest.mark.parametrize("name", ["{root}/a b.raw", "../a b.raw", "raw/../../a b.raw", "C:\\a.raw",
                                  "..\\a b.raw", "LIST\n../a b.raw", "LIST\n/etc/hostname",
                                  "/data/%03d.raw 1 5 1"])  # fmt: skip
def test_other_files_of_the_computer_are_refused(tmp_path, header, suffix, name):
    path = header(suffix, name.format(root=tmp_path))
    for read in (read_geometry, read_voxels):
        with pytest.raises(UserError, match=r"x\.\w+ has its voxels in .* beside it") as error:
            read(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("field", ["ElementDataFile =", "  ElementDataFile=", "ElementDataFile :"])
def test_however_the_field_is_written(tmp_path, header, field, ends):
    path = header(".mhd", tmp_path / "a b.raw")
    text = path.read_text().replace("ElementDataFile =", field)
    path.write_bytes(text.replace("\n", ends).encode())
    with pytest.raises(UserError, match="has its voxels in"):
        read_voxels(path)


def test_a_long_line_hides_nothing(tmp_path, header):
    for spaces in (5_000, 2**20 - 18, 2**20):
        with pytest.raises(UserError, match=r"has its voxels in|header has no lines"):
            read_voxels(header(".mhd", f"{' ' * spaces}{tmp_path}/a b.raw"))


def test_what_voxels_spell_is_no_header(tmp_path, header):
    path = header(".mha", "LOCAL")
    noise = b"\nElementDataFile = /etc/hostname\n".ljust(60)
    path.write_bytes(path.read_bytes() + noise)
    assert bytes(read_voxels(path)[::-1, ::-1].T.tobytes()) == noise


@pytest.mark.parametrize("suffix", HEADERS)
@pytest.mark.parametrize("number", ["2147483648", "-3", "0", "11", "nan", "", "9" * 5000])
def test_a_number_of_axes_that_ends_the_process_is_refused(header, suffix, number):
    path = header(suffix, "a b.raw")
    text = path.read_text().replace("NDims = 3", f"NDims = {number}")
    path.write_text(text.replace("dimension: 3", f"dimension: {number}"))
    with pytest.raises(UserError, match=r"is damaged: its (NDims|dimension|field)"):
        read_geometry(path)


@pytest.mark.parametrize("suffix", HEADERS)
@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_a_field_that_overflows_its_buffer_is_refused(header, suffix, place):
    path = header(suffix, "a b.raw")
    lines = path.read_text().split("\n")
    lines[place] = lines[place][:-1] + "[" * 100_000
    path.write_text("\n".join(lines))
    if lines[place].startswith("#"):
        assert read_geometry(path).shape == (3, 4, 5)
    else:
        with pytest.raises(UserError, match=r"is 1000\d\d characters long"):
            read_geometry(path)


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr"])
def test_texts_that_people_add_may_be_long(header, suffix):
    path = header(suffix, "a b.raw")
    path.write_text(path.read_text().replace("encoding:", f"names:={'x' * 9000}\nencoding:"))
    assert read_geometry(path).shape == (3, 4, 5)
