"""Label volumes of other tools: values below 0, scaled ones, a file for each structure, Slicer's."""

import nibabel as nib
import numpy as np
import pytest

from samtune.data.volumes.labels import LabelRules, read_volume_labels
from samtune.errors import UserError

sitk = pytest.importorskip("SimpleITK")
AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])
SHAPE = (12, 10, 6)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[3:8, 2:7, 1:5] = 1
LABELS[4:6, 3:5, 2:4] = 2
TURNED = LABELS[::-1, ::-1]  # as RAS


def save(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


@pytest.fixture
def image(tmp_path):
    return save(tmp_path / "i.nii.gz", np.zeros(SHAPE, np.int16))


class TestNumbers:
    def test_below_0_are_left_out_by_setting_alone(self, tmp_path, image):
        values = LABELS.astype(np.int16)
        values[:2] = -1
        path = save(tmp_path / "l.nii.gz", values)
        with pytest.raises(UserError, match=r"no labels \(-1\).*ignore_values"):
            read_volume_labels(path, image)
        found = read_volume_labels(path, image, LabelRules((-1, 2))).layers
        np.testing.assert_array_equal(found[0], np.where(TURNED == 1, 1, 0))

    @pytest.mark.parametrize("factor", [1, 400])
    def test_that_a_slope_makes_nearly_whole_are_whole(self, tmp_path, image, factor):
        scaled = nib.Nifti1Image(LABELS.astype(np.int16) * 12850, AFFINE)
        scaled.header.set_slope_inter(factor * 2 / 25700.5, 0)
        scaled.to_filename(tmp_path / "l.nii")
        found = read_volume_labels(tmp_path / "l.nii", image).layers[0]
        np.testing.assert_array_equal(found, TURNED * np.uint16(factor))

    def test_that_were_interpolated_are_none(self, tmp_path, image):
        path = save(tmp_path / "l.nii", LABELS.astype(np.float32) * 0.97)
        with pytest.raises(
            UserError, match=r"no labels \(fractions such as 0\.97\).* nearest neighbour"
        ):
            read_volume_labels(path, image)


class TestStructures:
    def test_a_file_each_gives_names_and_may_overlap(self, tmp_path, image):
        save(tmp_path / "s" / "liver.nii.gz", (LABELS > 0).astype(np.uint8))
        save(tmp_path / "s" / "spleen.nii.gz", (LABELS == 2).astype(np.uint8) * 255)
        found = read_volume_labels(tmp_path / "s", image)
        assert found.names == {1: "liver", 2: "spleen"}
        np.testing.assert_array_equal((found.layers == 1).any(axis=0), TURNED > 0)
        np.testing.assert_array_equal((found.layers == 2).any(axis=0), TURNED == 2)
        given = read_volume_labels(tmp_path / "s", image, structures=("heart", "spleen"))
        assert np.unique(given.layers).tolist() == [0, 2]

    def test_one_that_lies_elsewhere_is_named(self, tmp_path, image):
        save(tmp_path / "s" / "liver.nii.gz", LABELS, np.eye(4))
        with pytest.raises(UserError, match=r"liver\.nii\.gz lies elsewhere"):
            read_volume_labels(tmp_path / "s", image)


class TestSlicer:
    def image(self, folder):
        image = sitk.GetImageFromArray(np.zeros(SHAPE, np.int16).T)
        image.SetSpacing((1, 1, 3))
        sitk.WriteImage(image, str(folder / "i.nrrd"))
        return folder / "i.nrrd"

    def write(self, path, layers, part, fields, shift=(0.0, 0.0, 0.0)):
        """Layers (L, X, Y, Z), of which `part` (slices) is written where it lies."""
        values = np.stack([layer[part].T for layer in layers], axis=-1)
        image = sitk.GetImageFromArray(values, isVector=True) if len(layers) > 1 else (
            sitk.GetImageFromArray(values[..., 0]))  # fmt: skip
        image.SetSpacing((1, 1, 3))
        begins = [place.start for place in part]
        image.SetOrigin([(b + s) * d for b, s, d in zip(begins, shift, (1, 1, 3), strict=True)])
        for key, value in fields.items():
            image.SetMetaData(key, value)
        sitk.WriteImage(image, str(path))
        return path

    def fields(self, *segments):
        return {
            f"Segment{n}_{key}": str(value)
            for n, segment in enumerate(segments)
            for key, value in zip(("Name", "LabelValue", "Layer"), segment, strict=True)
        }

    PART = (slice(3, 9), slice(1, 8), slice(1, 5))

    def test_a_cropped_one_is_placed_by_its_geometry_and_keeps_its_names(self, tmp_path):
        fields = self.fields(("organ", 1, 0), ("tumour", 2, 0))
        path = self.write(tmp_path / "a.seg.nrrd", [LABELS], self.PART, fields)
        found = read_volume_labels(path, self.image(tmp_path))
        assert found.names == {1: "organ", 2: "tumour"}
        np.testing.assert_array_equal(found.layers, TURNED[None])

    def test_layers_with_the_same_values_are_numbered(self, tmp_path):
        organ, tumour = (LABELS > 0).astype(np.uint8), (LABELS == 2).astype(np.uint8)
        fields = self.fields(("organ", 1, 0), ("tumour", 1, 1))
        path = self.write(tmp_path / "a.seg.nrrd", [organ, tumour], self.PART, fields)
        found = read_volume_labels(path, self.image(tmp_path))
        assert found.names == {1: "organ", 2: "tumour"}
        np.testing.assert_array_equal(found.layers[0], TURNED > 0)
        np.testing.assert_array_equal(found.layers[1], (TURNED == 2) * 2)

    def test_one_on_another_grid_or_outside_is_refused(self, tmp_path):
        fields, image = self.fields(("organ", 1, 0), ("tumour", 2, 0)), self.image(tmp_path)
        for shift, match in (((0.4, 0, 0), "on another grid"), ((-20, 0, 0), "outside its image")):
            path = self.write(tmp_path / "a.nrrd", [LABELS], self.PART, fields, shift)
            with pytest.raises(UserError, match=match):
                read_volume_labels(path, image)

    def test_a_value_of_no_segment_is_refused(self, tmp_path):
        path = self.write(tmp_path / "a.nrrd", [LABELS], self.PART, self.fields(("organ", 1, 0)))
        with pytest.raises(UserError, match="none of its segments has"):
            read_volume_labels(path, self.image(tmp_path))

    def test_a_part_without_segments_is_refused_as_before(self, tmp_path):
        path = self.write(tmp_path / "a.nrrd", [LABELS], self.PART, {})
        with pytest.raises(UserError, match="6x7x4 voxels, but its image has 12x10x6"):
            read_volume_labels(path, self.image(tmp_path))


class TestNamesInNifti:
    TABLE = (
        '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension><VolumeInformation><LabelTable>'
        '<Label Key="1" Red="0.2"><![CDATA[spleen]]></Label><Label Key="2"><![CDATA[liver]]></Label>'
        "</LabelTable></VolumeInformation></CaretExtension>"
    )

    def write(self, path, text):
        labels = nib.Nifti1Image(LABELS, AFFINE)
        labels.header.extensions.append(nib.nifti1.Nifti1Extension(0, text.encode()))
        nib.save(labels, path)
        return path

    def test_are_those_of_its_table(self, tmp_path, image):
        """As TotalSegmentator writes one file of all structures."""
        path = self.write(tmp_path / "l.nii.gz", self.TABLE)
        assert read_volume_labels(path, image).names == {1: "spleen", 2: "liver"}

    @pytest.mark.parametrize("text", ["", "<?xml <LabelTable", TABLE.replace('"1"', '"x"'), "{}"])
    def test_are_none_where_there_is_no_sound_table(self, tmp_path, image, text):
        path = self.write(tmp_path / "l.nii.gz", text)
        assert read_volume_labels(path, image).names == {}
