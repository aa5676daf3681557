"""The same volume in every format, stored in any order of axes, is read the same."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samtune.data.volumes.labels import read_volume_labels
from samtune.data.volumes.placement import LPS_TO_RAS
from samtune.data.volumes.voxels import read_geometry, read_voxels
from samtune.errors import UserError

sitk = pytest.importorskip("SimpleITK")
SPACING = (0.5, 0.8, 3.0)
AFFINE = np.diag([*SPACING, 1.0])


@pytest.fixture
def values():
    """Voxels in right-anterior-superior order."""
    return np.random.default_rng(0).integers(-500, 500, (5, 6, 4)).astype(np.int16)


def stored(values, codes):
    """The volume with its axes turned to `codes`, such as LPS, and the affine that says so."""
    image = nib.Nifti1Image(values, AFFINE)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(turn)
    return np.asarray(turned.dataobj), turned.affine


def save(path, array, affine):
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(array, affine), path)
        return path
    lps = LPS_TO_RAS @ affine
    image = sitk.GetImageFromArray(array.T)
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(sizes.tolist())
    image.SetDirection((lps[:3, :3] / sizes).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


SUFFIXES = [".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
def test_is_brought_into_one_order_of_axes(tmp_path, values, suffix, codes):
    path = save(tmp_path / f"vol ü{suffix}", *stored(values, codes))
    geometry = read_geometry(path)
    assert geometry.ras_shape == values.shape
    assert geometry.spacing == pytest.approx(SPACING, rel=1e-5)
    np.testing.assert_array_equal(read_voxels(path), values)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(0, 2**31), st.tuples(*[st.integers(1, 6)] * 3), st.sampled_from(SUFFIXES),
    st.sampled_from([np.uint8, np.int16, np.uint16, np.float32]),
)  # fmt: skip
def test_what_is_written_is_read_back_equal(tmp_path, seed, shape, suffix, dtype):
    written = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    path = save(tmp_path / f"any{suffix}", written, AFFINE)
    np.testing.assert_array_equal(read_voxels(path), written)


class TestUnits:
    @pytest.mark.parametrize(
        ("unit", "millimetres"), [("meter", 1000), ("mm", 1), ("micron", 0.001), (None, 1)]
    )
    def test_are_brought_to_millimetres(self, tmp_path, values, unit, millimetres):
        image = nib.Nifti1Image(values, np.diag([5.0, 5, 5, 1]))
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / "i.nii.gz")
        geometry = read_geometry(tmp_path / "i.nii.gz")
        assert geometry.spacing == pytest.approx((5 * millimetres,) * 3)
        nib.save(nib.Nifti1Image((values > 0).astype(np.uint8), image.affine), tmp_path / "l.nii")
        layers = read_volume_labels(tmp_path / "l.nii", tmp_path / "i.nii.gz").layers
        np.testing.assert_array_equal(layers[0], values > 0)

    def test_that_no_standard_knows_are_millimetres(self, tmp_path, values):
        image = nib.Nifti1Image(values, AFFINE)
        image.header["xyzt_units"] = 7 + 8
        nib.save(image, tmp_path / "i.nii")
        assert read_geometry(tmp_path / "i.nii").spacing == pytest.approx(SPACING)


class TestLabels:
    def test_fit_whatever_order_they_are_stored_in(self, tmp_path, values):
        image = save(tmp_path / "i.nrrd", *stored(values, "LPS"))
        labels = (values > 100).astype(np.uint8) * 7
        path = save(tmp_path / "l.nii.gz", *stored(labels, "PIR"))
        found = read_volume_labels(path, image)
        np.testing.assert_array_equal(found.layers[0], labels)
        assert found.names == {}

    def test_of_another_size_are_refused(self, tmp_path, values):
        image = save(tmp_path / "i.mha", values, AFFINE)
        path = save(tmp_path / "l.mha", values[:-1], AFFINE)
        with pytest.raises(UserError, match="4x6x4 voxels, but its image has 5x6x4"):
            read_volume_labels(path, image)

    @pytest.mark.parametrize(
        "affine",
        [
            np.diag([-0.5, -0.8, 3.0, 1.0]),  # mirrored
            np.eye(4),
            np.array([[0.5, 0, 0, 50], [0, 0.8, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]),  # apart
        ],
    )
    def test_elsewhere_than_the_image_are_refused(self, tmp_path, values, affine):
        image = save(tmp_path / "i.nii.gz", values, AFFINE)
        path = save(tmp_path / "l.nii.gz", (values > 0).astype(np.uint8), affine)
        with pytest.raises(
            UserError, match=r"l\.nii\.gz lies elsewhere .*i\.nii\.gz .* affine"
        ) as error:
            read_volume_labels(path, image)
        assert "to (2, 4, 9) mm): the usual cause" in str(error.value)
        assert "\n" not in str(error.value)

    def test_may_be_off_by_less_than_half_a_voxel(self, tmp_path, values):
        image = save(tmp_path / "i.nii.gz", values, AFFINE)
        labels = (values > 0).astype(np.uint8)
        for shift, does_fit in ((0.2, True), (0.3, False)):
            affine = AFFINE.copy()
            affine[0, 3] = shift
            path = save(tmp_path / f"{shift}.nii", labels, affine)
            if does_fit:
                np.testing.assert_array_equal(read_volume_labels(path, image).layers[0], labels)
            else:
                with pytest.raises(UserError, match="lies elsewhere"):
                    read_volume_labels(path, image)

    @pytest.mark.parametrize("wrong", [0.5, -1.0, np.nan, np.inf])
    def test_fractions_and_negative_values_are_refused(self, tmp_path, values, wrong):
        image = save(tmp_path / "i.mha", values, AFFINE)
        path = save(tmp_path / "l.mha", np.full(values.shape, wrong, np.float32), AFFINE)
        with pytest.raises(UserError, match="no labels"):
            read_volume_labels(path, image)


class TestDamagedFiles:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize(
        "content", [b"", b"\x1f\x8b", b"NRRD0004\ndimension: 99\n", b"x" * 400]
    )
    def test_are_said_in_one_line(self, tmp_path, suffix, content):
        path = tmp_path / f"bad{suffix}"
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"bad\{suffix}") as error:
            read_voxels(path)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
    def test_truncated_ones_too(self, tmp_path, suffix):
        noise = np.random.default_rng(0).integers(0, 255, (40, 40, 20), np.uint8)
        path = save(tmp_path / f"a{suffix}", noise, AFFINE)
        path.write_bytes(path.read_bytes()[:9_000])
        with pytest.raises(UserError, match="damaged"):
            read_voxels(path)

    @pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
    def test_more_voxels_than_the_memory_holds_are_said_before_they_are_read(
        self, tmp_path, suffix
    ):
        path = tmp_path / f"a{suffix}"
        sides = "9000 9000 9000"
        if suffix == ".nii":
            nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), AFFINE), path)
            content = bytearray(path.read_bytes())
            content[42:48] = np.array([9000] * 3, "<i2").tobytes()
            path.write_bytes(content)
        elif suffix == ".nrrd":
            path.write_text(f"NRRD0004\ntype: short\ndimension: 3\nsizes: {sides}\n"
                            "encoding: raw\nendian: little\n\n")  # fmt: skip
        else:
            path.write_text(f"ObjectType = Image\nNDims = 3\nDimSize = {sides}\n"
                            "ElementType = MET_SHORT\nElementDataFile = LOCAL\n")  # fmt: skip
        for read in (read_geometry, read_voxels):
            with pytest.raises(UserError, match=r"7\.29e\+11 voxels by its header") as error:
                read(path)
            assert "\n" not in str(error.value)

    @pytest.mark.parametrize("dtype", [np.complex64])
    def test_nifti_of_complex_numbers_is_none(self, tmp_path, dtype):
        nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), dtype), AFFINE), tmp_path / "a.nii")
        for read in (read_geometry, read_voxels):
            with pytest.raises(UserError, match=r"a\.nii has co.* one real number each is needed"):
                read(tmp_path / "a.nii")

    @pytest.mark.parametrize("wrong", ["plane", "nan", "zero"])
    def test_an_affine_that_is_none_is_said(self, tmp_path, wrong):
        affine = AFFINE.copy()
        affine[:3, 1] = {"plane": affine[:3, 0], "nan": np.nan, "zero": 0.0}[wrong]
        image = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), None)
        image.header.set_sform(affine, 1)
        nib.save(image, tmp_path / "a.nii")
        with pytest.raises(UserError, match=r"a\.nii has the shape 4x4x4 and the affine") as error:
            read_geometry(tmp_path / "a.nii")
        assert "\n" not in str(error.value)


class TestPacking:
    """Browsers unpack files and keep their names; others pack them and do not say so."""

    @pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
    @pytest.mark.parametrize("change", [gzip.decompress, gzip.compress])
    def test_is_seen_in_the_content(self, tmp_path, values, kind, change):
        is_packed = change is gzip.decompress
        path = tmp_path / ("a.nii.gz" if is_packed else "a.nii")
        nib.save(kind(values, AFFINE), path)
        path.write_bytes(change(path.read_bytes()))
        assert read_geometry(path).shape == values.shape
        np.testing.assert_array_equal(read_voxels(path), values)

    def test_what_is_none_under_a_wrong_name_is_said(self, tmp_path):
        for name, content in (("a.nii.gz", b"x" * 600), ("a.nii", gzip.compress(b"x" * 600))):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(UserError, match="is no NIfTI volume"):
                read_geometry(tmp_path / name)
