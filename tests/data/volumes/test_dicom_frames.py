"""Each slice and frame is read by its own attributes: in pictures, series, films and enhanced files."""

import nibabel as nib
import numpy as np
import pydicom
import pytest

from samtune.data.volumes.labels import read_volume_labels
from samtune.data.volumes.segments import Segment
from samtune.data.volumes.slices import open_stack
from samtune.data.volumes.voxels import read_geometry, read_volume_notes, read_voxels
from samtune.data.volumes.writing import write_volume_labels
from samtune.errors import UserError
from samtune.images.dicom import read_dicom_window
from samtune.images.intensity import find_range, to_grey
from samtune.images.labels import read_labels
from samtune.images.pixels import read_image, read_pixels
from samtune.reading import Reading
from tests.data.volumes.dicom_files import write_seg

pytest.importorskip("highdicom")
sitk = pytest.importorskip("SimpleITK")


def changed(path, alter):
    """A copy of a file, altered."""
    dataset = pydicom.dcmread(path)
    alter(dataset)
    copy = path.with_name(f"{alter.__name__}.dcm")
    dataset.save_as(copy)
    return copy


def in_body_order(values):
    """(slices, rows, columns), rows to the back, columns to the left -> right, anterior, superior."""
    return np.moveaxis(values, (0, 1, 2), (2, 1, 0))[::-1, ::-1]


def change(folder, alter):
    """Alter the data sets of a series: `alter(dataset, number of the slice)`."""
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        alter(dataset, dataset.InstanceNumber - 1)
        dataset.save_as(file)
    return folder


@pytest.fixture
def values():
    return np.random.default_rng(0).integers(-1000, 1000, (5, 8, 6)).astype(np.int16)


class TestWindows:
    def series(self, write_slices, own):
        """Air on the first slice, tissue on the others; `own` are their windows."""
        rng = np.random.default_rng(0)
        values = rng.integers(400, 900, (8, 8, 6)).astype(np.int16)
        values[0] = rng.integers(0, 20, (8, 6))

        def alter(dataset, number):
            if own[number]:
                dataset.WindowCenter, dataset.WindowWidth = own[number]

        return change(write_slices("s", values), alter), values

    @pytest.mark.parametrize("first", [(10, 20), None])
    def test_that_differ_are_none_of_the_volume(self, write_slices, first):
        folder, values = self.series(write_slices, [first, *[(600, 800)] * 7])
        assert read_dicom_window(folder) is None
        stack = open_stack([folder], Reading())
        assert stack.ranges == (find_range(values.astype(np.float32)),)
        for number in range(1, 8):
            shown = stack.picture(number)
            assert 50 < shown.mean() < 220
            assert (shown == 255).mean() < 0.1
        (note,) = read_volume_notes([folder], True)
        assert "name different windows" in note
        assert not read_volume_notes([folder], False)

    def test_that_agree_are_kept(self, write_slices):
        folder, values = self.series(write_slices, [(600, 800)] * 8)
        assert read_dicom_window(folder) == (200, 1000)
        stack = open_stack([folder], Reading())
        np.testing.assert_array_equal(stack.picture(3)[..., 0], to_grey(values[3], 200, 1000))
        assert not read_volume_notes([folder], True)

    def test_a_table_shows_the_values_between_which_it_rises(self, write_slices, values):
        table = pydicom.Dataset()
        table.LUTDescriptor, table.LUTExplanation = [300, 50, 16], ""
        data = np.zeros(300, np.uint16)
        data[100:201], data[201:] = np.linspace(0, 4095, 101), 4095
        table.add_new("LUTData", "OW", data.tobytes())
        folder = write_slices("s", values, VOILUTSequence=[table])
        assert read_dicom_window(folder) == (150, 250)
        file = next(folder.iterdir())
        shown, stored = read_image(file)[..., 0], read_pixels(file)[..., 0]
        np.testing.assert_array_equal(shown, to_grey(stored, 150, 250))


class TestValues:
    def test_every_slice_has_its_own_slope(self, write_slices, values):
        def alter(dataset, number):
            dataset.RescaleSlope, dataset.RescaleIntercept = number + 1, number

        folder = change(write_slices("s", values), alter)
        slopes = np.arange(1, 6)[:, None, None]
        np.testing.assert_array_equal(
            read_voxels(folder), in_body_order(values * slopes + slopes - 1)
        )

    def enhanced(self, write_slices, values, alter):
        """An enhanced file, whose frames `alter(groups, number)` may change."""
        (file,) = write_slices("e", values[:1]).iterdir()
        dataset = pydicom.dcmread(file)
        dataset.SOPClassUID = pydicom.uid.EnhancedCTImageStorage
        groups = []
        for number in range(len(values)):
            group = pydicom.Dataset()
            place, measures, way = (pydicom.Dataset() for _ in range(3))
            place.ImagePositionPatient = [10, 20, 30 + 3 * number]
            measures.PixelSpacing, measures.SliceThickness = [0.8, 0.5], 3
            way.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            group.PlanePositionSequence, group.PixelMeasuresSequence = [place], [measures]
            group.PlaneOrientationSequence = [way]
            alter(group, number)
            groups.append(group)
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope",
                     "RescaleIntercept"):  # fmt: skip
            delattr(dataset, name)
        dataset.PerFrameFunctionalGroupsSequence = groups
        dataset.NumberOfFrames, dataset.PixelData = len(values), values.tobytes()
        path = file.parent.parent / "enhanced.dcm"
        dataset.save_as(path)
        return path

    def test_every_frame_has_its_own_slope_and_window(self, write_slices, values):
        def alter(group, number):
            slope, window = pydicom.Dataset(), pydicom.Dataset()
            slope.RescaleSlope, slope.RescaleIntercept = number + 1, -number
            window.WindowCenter, window.WindowWidth = 100 * number, 50
            group.PixelValueTransformationSequence = [slope]
            group.FrameVOILUTSequence = [window]

        path = self.enhanced(write_slices, values, alter)
        slopes = np.arange(1, 6)[:, None, None]
        expected = in_body_order(values * slopes - (slopes - 1))
        np.testing.assert_array_equal(read_voxels(path), expected)
        assert read_dicom_window(path) is None
        assert read_geometry(path).spacing == pytest.approx((0.5, 0.8, 3))

    def test_frames_of_another_orientation_are_said(self, write_slices, values):
        def alter(group, number):
            if number == 2:
                group.PlaneOrientationSequence[0].ImageOrientationPatient = [0, 1, 0, 0, 0, 1]

        path = self.enhanced(write_slices, values, alter)
        with pytest.raises(UserError, match="another orientation"):
            read_geometry(path)

    def test_inverted_ones_are_turned_in_pictures_series_and_films(self, write_slices, values):
        folder = write_slices("s", values, PhotometricInterpretation="MONOCHROME1", RescaleSlope=2)
        np.testing.assert_array_equal(read_voxels(folder), in_body_order(-2 * values))
        film = write_slices(
            "f", values[:1], PhotometricInterpretation="MONOCHROME1", NumberOfFrames=5
        )
        (file,) = film.iterdir()
        dataset = pydicom.dcmread(file)
        dataset.PixelData = values.tobytes()
        dataset.save_as(file)
        np.testing.assert_array_equal(read_voxels(file), in_body_order(-values))

    def test_slices_of_two_kinds_are_refused(self, write_slices, values):
        def alter(dataset, number):
            if number == 3:
                dataset.PhotometricInterpretation = "MONOCHROME1"

        folder = change(write_slices("s", values), alter)
        with pytest.raises(UserError, match=r"different kinds \(MONOCHROME1, MONOCHROME2\)"):
            read_voxels(folder)

    def test_of_a_label_picture_no_rule_of_display_is_applied(self, write_slices):
        labels = np.arange(48, dtype=np.int16).reshape(1, 8, 6)
        folder = write_slices(
            "s", labels, PhotometricInterpretation="MONOCHROME1", RescaleIntercept=-1024
        )
        np.testing.assert_array_equal(read_labels(next(folder.iterdir())), labels[0])


class TestColours:
    def palette(self, folder, number_of_frames):
        """Each slice has a palette of its own, one film has one."""
        expected = []

        def alter(dataset, number):
            table = np.random.default_rng(number).integers(0, 256, (3, 256)).astype(np.uint8)
            indices = np.random.default_rng(9 + number).integers(0, 256, (number_of_frames, 8, 6))
            dataset.PhotometricInterpretation = "PALETTE COLOR"
            dataset.BitsAllocated = dataset.BitsStored = 8
            dataset.HighBit, dataset.PixelRepresentation = 7, 0
            dataset.NumberOfFrames = number_of_frames
            dataset.PixelData = indices.astype(np.uint8).tobytes()
            for name, colours in zip(("Red", "Green", "Blue"), table, strict=True):
                dataset.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [256, 0, 8])
                setattr(dataset, f"{name}PaletteColorLookupTableData", colours.tobytes())
            expected.append((number, np.moveaxis(table[:, indices], 0, -1)))

        change(folder, alter)
        return np.concatenate(
            [colours for _, colours in sorted(expected, key=lambda each: each[0])]
        )

    @pytest.mark.parametrize(("slices", "frames"), [(3, 1), (1, 4)])
    def test_palettes_of_series_and_films_are_those_of_pictures(self, write_slices, slices, frames):
        folder = write_slices("s", np.zeros((slices, 8, 6), np.int16))
        expected = self.palette(folder, frames)
        path = folder if slices > 1 else next(folder.iterdir())
        np.testing.assert_array_equal(read_voxels(path), in_body_order(expected))
        stack = open_stack([path], Reading(axis="axial"))
        for number, colours in enumerate(expected):
            np.testing.assert_array_equal(stack.picture(number), colours)
        if slices > 1:
            first = next(f for f in folder.iterdir() if pydicom.dcmread(f).InstanceNumber == 1)
            np.testing.assert_array_equal(read_image(first), expected[0])


class TestTimes:
    def test_places_that_were_taken_several_times_are_channels(self, write_slices, values):
        """Six pictures of two places, numbered place by place."""
        pictures = np.concatenate([values, values[:1] + 7])

        def alter(dataset, number):
            dataset.ImagePositionPatient = [10, 20, 30 + 3 * (number // 3)]

        folder = change(write_slices("s", pictures), alter)
        assert read_geometry(folder).num_channels == 3
        found = read_voxels(folder)
        expected = in_body_order(pictures.reshape(2, 3, 8, 6).transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(found, expected)
        with pytest.raises(UserError, match=r"has 3 values a voxel .*choose with bands"):
            open_stack([folder], Reading())
        stack = open_stack([folder], Reading(bands=(1,), axis="axial"))
        np.testing.assert_array_equal(stack.values(1), pictures[4])


class TestTilt:
    def tilted(self, write_slices, values):
        def alter(dataset, number):
            dataset.ImagePositionPatient = [10, 20 + 1.2 * number, 30 + 3 * number]

        return change(write_slices("s", values), alter)

    def test_slices_that_are_shifted_evenly_are_a_sheared_volume(
        self, tmp_path, write_slices, values
    ):
        folder = self.tilted(write_slices, values)
        geometry = read_geometry(folder)
        assert geometry.is_sheared
        assert geometry.spacing == pytest.approx((0.5, 0.8, 3))
        # from (slice, row, column) to millimetres to the right, front and head
        expected = [[0, 0, -0.5, -10], [-1.2, -0.8, 0, -20], [3, 0, 0, 30], [0, 0, 0, 1]]
        np.testing.assert_allclose(geometry.affine, expected, atol=1e-9)
        np.testing.assert_array_equal(read_voxels(folder), in_body_order(values))
        labels = (values > 0).astype(np.uint8)
        affine = np.array([[-0.5, 0, 0, -10], [0, -0.8, -1.2, -20], [0, 0, 3, 30], [0, 0, 0, 1]])
        nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), affine), tmp_path / "l.nii.gz")
        found = read_volume_labels(tmp_path / "l.nii.gz", folder)
        np.testing.assert_array_equal(found.layers[0], in_body_order(labels))

    def test_labels_are_written_back_or_the_tilt_is_named(self, tmp_path, write_slices, values):
        folder = self.tilted(write_slices, values)
        mask = in_body_order(values > 0)
        segments = [Segment(1, "a", int(mask.sum()), lambda: mask)]
        write_volume_labels(tmp_path / "l.nii.gz", folder, segments)
        found = read_volume_labels(tmp_path / "l.nii.gz", folder)
        np.testing.assert_array_equal(found.layers[0] > 0, mask)
        with pytest.raises(UserError, match="tilted gantry"):
            write_volume_labels(tmp_path / "l.dcm", folder, segments)

    def test_structures_are_filled_on_their_slice(
        self, tmp_path, write_slices, write_rtstruct, values
    ):
        folder = self.tilted(write_slices, values)
        x, y, z = 10 - 0.25, 20 + 2.4 - 0.4, 36
        ring = [
            [x + 0.5, y + 0.8, z],
            [x + 2, y + 0.8, z],
            [x + 2, y + 3.2, z],
            [x + 0.5, y + 3.2, z],
        ]
        expected = np.zeros(values.shape, bool)
        expected[2, 1:4, 1:4] = True
        path = write_rtstruct(tmp_path / "rt.dcm", {"a": [ring]})
        found = read_volume_labels(path, folder).layers[0]
        np.testing.assert_array_equal(found > 0, in_body_order(expected))

    @pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
    def test_segments_lie_where_their_frames_say(self, tmp_path, write_slices, values, kind):
        folder = self.tilted(write_slices, values)
        mask = values > np.median(values)
        mask[1] = False  # a frame that files leave out
        path = write_seg(tmp_path / "seg.dcm", folder, {"a": mask}, kind)
        found = read_volume_labels(path, folder)
        assert found.names == {1: "a"}
        np.testing.assert_array_equal(found.layers[0] > 0, in_body_order(mask))

    def test_segments_of_other_slices_are_refused(self, tmp_path, write_slices, values):
        folder = self.tilted(write_slices, values)
        path = write_seg(tmp_path / "seg.dcm", folder, {"a": values > 0})

        def between(dataset):
            for frame in dataset.PerFrameFunctionalGroupsSequence:
                place = frame.PlanePositionSequence[0]
                place.ImagePositionPatient = [*place.ImagePositionPatient[:2], 31.5]

        def finer(dataset):
            dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [
                0.4,
                0.25,
            ]

        def thicker(dataset):
            measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
            measures.SpacingBetweenSlices = 6

        for alter, told in ((between, "lies between the voxels"), (finer, "pixels of another size"),
                            (thicker, "frames 6 mm apart, its image slices 3 mm")):  # fmt: skip
            with pytest.raises(UserError, match=told):
                read_volume_labels(changed(path, alter), folder)

    def test_slices_that_lie_twice_are_said(self, write_slices, values):
        def alter(dataset, number):
            dataset.ImagePositionPatient = [10, 20, 30 + 3 * (number // 2)]

        folder = change(write_slices("s", values), alter)
        with pytest.raises(UserError, match="2 lie where another one lies"):
            read_geometry(folder)


class TestOblique:
    """Slices across no axis of the body."""

    ACROSS, DOWN = (0.8, 0.36, 0.48), (-0.6, 0.48, 0.64)

    @pytest.fixture
    def folder(self, write_slices, values):
        normal = np.cross(self.ACROSS, self.DOWN)

        def alter(dataset, number):
            dataset.ImageOrientationPatient = [*self.ACROSS, *self.DOWN]
            place = np.array([10, 20, 30]) + 3 * number * normal
            dataset.ImagePositionPatient = place.round(6).tolist()

        return change(write_slices("s", values), alter)

    def expected(self, folder, mask):
        return read_geometry(folder).turn(mask)

    def test_segments_lie_where_they_were_drawn(self, tmp_path, folder, values):
        mask = values > np.median(values)
        found = read_volume_labels(write_seg(tmp_path / "seg.dcm", folder, {"a": mask}), folder)
        np.testing.assert_array_equal(found.layers[0] > 0, self.expected(folder, mask))

    def test_contours_are_filled_on_their_slice(self, tmp_path, folder, write_rtstruct, values):
        mask = np.zeros(values.shape, bool)
        mask[2, 1:4, 1:4] = True
        across, down = np.array(self.ACROSS) * 0.5, np.array(self.DOWN) * 0.8
        corner = np.array([10, 20, 30]) + 6 * np.cross(self.ACROSS, self.DOWN)
        ring = [
            (corner + x * across + y * down).tolist()
            for x, y in ((0.5, 0.5), (3.5, 0.5), (3.5, 3.5), (0.5, 3.5))
        ]
        found = read_volume_labels(write_rtstruct(tmp_path / "rt.dcm", {"a": [ring]}), folder)
        np.testing.assert_array_equal(found.layers[0] > 0, self.expected(folder, mask))


class TestDecoders:
    @pytest.fixture
    def lossless(self, tmp_path):
        """A JPEG Lossless picture, which none of pydicom's own plugins reads, and its values."""
        values = np.random.default_rng(0).integers(0, 4096, (20, 24)).astype(np.uint16)
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(tmp_path / "a.dcm"))
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(sitk.GetImageFromArray(values[None]))
        dataset = pydicom.dcmread(tmp_path / "a.dcm")
        assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.JPEGLosslessSV1
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1024
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.save_as(tmp_path / "a.dcm")
        return tmp_path / "a.dcm", values

    def test_what_pydicom_refuses_simpleitk_reads_and_the_same_rules_hold(self, lossless):
        path, values = lossless
        np.testing.assert_array_equal(read_pixels(path)[..., 0], -(values * 2.0 - 1024))

    def test_half_a_frame_is_refused(self, lossless):
        path, _ = lossless
        dataset = pydicom.dcmread(path)
        (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
        dataset.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 2]])
        dataset.save_as(path)
        with pytest.raises(UserError, match="cannot be read as DICOM: Unable to de"):
            read_pixels(path)

    def test_more_values_than_the_memory_holds_are_said_before_they_are_read(self, lossless):
        path, _ = lossless
        dataset = pydicom.dcmread(path)
        dataset.Rows = dataset.Columns = 60_000
        dataset.save_as(path)
        with pytest.raises(UserError, match=r"3\.6e\+09 values by its header"):
            read_pixels(path)


def test_a_data_set_without_the_preamble_is_read(write_slices, values):
    folder = write_slices("s", values)
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        bare = pydicom.Dataset(dataset)
        bare.save_as(file, implicit_vr=True, little_endian=True)
        assert b"DICM" not in file.read_bytes()[:200]
    np.testing.assert_array_equal(read_voxels(folder), in_body_order(values))
