"""DICOM: series in any order of files, rescaling, windows, pictures, SEG and RTSTRUCT, mistakes."""

import tracemalloc

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samtune.data.volumes.dicom_labels import read_dicom_labels
from samtune.data.volumes.labels import read_label_notes, read_volume_labels
from samtune.data.volumes.voxels import read_geometry, read_volume_notes, read_voxels
from samtune.errors import UserError
from samtune.images.dicom import is_dicom, read_dicom_window
from samtune.images.pixels import read_image, read_pixels
from tests.data.volumes.dicom_files import in_order, write_seg

highdicom = pytest.importorskip("highdicom")


@pytest.fixture
def values():
    """(slices, rows, columns) stored values."""
    return np.random.default_rng(0).integers(-1000, 1000, (5, 8, 6)).astype(np.int16)


def in_body_order(values):
    """(slices, rows, columns), rows to the back, columns to the left -> right, anterior, superior."""
    return np.transpose(values, (2, 1, 0))[::-1, ::-1]


class TestSeries:
    def test_slices_are_put_in_order(self, write_slices, values):
        folder = write_slices("s", values)
        geometry = read_geometry(folder)
        assert geometry.ras_shape == (6, 8, 5)
        assert geometry.spacing == pytest.approx((0.5, 0.8, 3.0))
        np.testing.assert_array_equal(read_voxels(folder), in_body_order(values))

    def test_slope_and_intercept_count(self, write_slices, values):
        folder = write_slices("s", values, RescaleSlope=2, RescaleIntercept=-1024)
        np.testing.assert_array_equal(read_voxels(folder), in_body_order(values) * 2.0 - 1024)

    def test_the_files_own_window(self, write_slices, values):
        folder = write_slices("s", values, WindowCenter=[40, 300], WindowWidth=[400, 1500])
        assert read_dicom_window(folder) == (-160, 240)
        assert read_dicom_window(write_slices("t", values)) is None
        inverted = write_slices(
            "u", values, WindowCenter=40, WindowWidth=400, PhotometricInterpretation="MONOCHROME1"
        )
        assert read_dicom_window(inverted) == (-240, 160)
        np.testing.assert_array_equal(read_voxels(inverted), -in_body_order(values))

    def test_files_without_a_suffix_are_known_by_their_magic(self, write_slices, values):
        folder = write_slices("s", values)
        for number, file in enumerate(sorted(folder.iterdir())):
            file.rename(folder / f"MR.1.2.840.{number}")
        assert is_dicom(folder)
        np.testing.assert_array_equal(read_voxels(folder), in_body_order(values))

    @settings(
        max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.integers(0, 2**31), st.tuples(*[st.integers(1, 5)] * 3))
    def test_what_is_written_is_read_back_equal(self, write_slices, seed, shape):
        written = np.random.default_rng(seed).integers(-(2**15), 2**15, shape).astype(np.int16)
        folder = write_slices(f"any{seed}{shape}", written)
        np.testing.assert_array_equal(read_voxels(folder), in_body_order(written))

    def test_a_missing_slice_is_said(self, write_slices, values):
        folder = write_slices("s", values)
        sorted(folder.iterdir())[2].unlink()
        with pytest.raises(UserError, match=rf"{folder}: its 4 slices are no regular stack"):
            read_geometry(folder)

    @pytest.mark.parametrize("name", ["000_notes.txt", "LICENSE", "069.xml"])
    def test_a_foreign_file_among_the_slices_is_passed_over_and_told(
        self, write_slices, values, name
    ):
        folder = write_slices("s", values)
        (folder / name).write_text("not for the scanner")
        assert is_dicom(folder)
        np.testing.assert_array_equal(read_voxels(folder), in_body_order(values))
        (note,) = read_volume_notes([folder], True)
        assert f"{name}: no DICOM pictures" in note

    def test_an_index_of_the_folder_is_no_slice(self, write_slices, values):
        folder = write_slices("s", values)
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
        meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        index = pydicom.dataset.FileDataset("I", {}, file_meta=meta, preamble=b"\0" * 128)
        index.FileSetID = "X"
        index.save_as(folder / "INDEX", enforce_file_format=True)
        np.testing.assert_array_equal(read_voxels(folder), in_body_order(values))
        assert "INDEX" in read_volume_notes([folder], True)[0]

    def test_what_claims_to_be_a_slice_and_is_none_is_named(self, write_slices, values):
        folder = write_slices("s", values)
        (folder / "zzz.dcm").write_text("not for the scanner")
        with pytest.raises(UserError, match=r"zzz\.dcm is no DICOM file.* take it out"):
            read_geometry(folder)

    def test_slices_of_different_sizes_are_said(self, write_slices, values):
        folder = write_slices("s", values)
        file = sorted(folder.iterdir())[2]
        dataset = pydicom.dcmread(file)
        dataset.Rows, dataset.PixelData = 4, dataset.PixelData[: 4 * 6 * 2]
        dataset.save_as(file)
        for read in (read_geometry, read_voxels):
            with pytest.raises(UserError, match=rf"{folder} have different sizes \(6x4, 6x8\)"):
                read(folder)

    def test_two_series_in_a_folder_are_said(self, write_slices, values):
        folder = write_slices("s", values, SeriesDescription="thorax")
        other = write_slices("t", values, SeriesDescription="abdomen")
        for file in other.iterdir():
            file.rename(folder / f"t{file.name}")
        with pytest.raises(UserError, match=r"2 DICOM series \(thorax, abdomen\)"):
            read_geometry(folder)

    @pytest.mark.parametrize("size", [0, 10, 200, 900])
    def test_a_damaged_file_is_said_in_one_line(self, write_slices, values, size):
        folder = write_slices("s", values)
        file = sorted(folder.iterdir())[0]
        file.write_bytes(file.read_bytes()[:size])
        with pytest.raises(UserError, match=r"DICOM|no picture|slices|series") as error:
            read_voxels(folder)
        assert "\n" not in str(error.value)


class TestEnhanced:
    """Files of many frames, each with what it is in functional groups."""

    def shuffled(self, folder, order):
        """A series as one file, its frames in another order than that of their places."""
        uid = pydicom.uid.generate_uid
        file = highdicom.legacy.LegacyConvertedEnhancedCTImage(
            in_order(folder), uid(), 1, uid(), 1
        )  # fmt: skip
        groups = file.PerFrameFunctionalGroupsSequence
        file.PerFrameFunctionalGroupsSequence = [groups[number] for number in order]
        frames = np.frombuffer(file.PixelData, np.int16).reshape(len(order), -1)
        file.PixelData = frames[order].tobytes()
        path = folder.parent / f"{folder.name}.dcm"
        file.save_as(path)
        return path

    def series(self, write_slices, values, **more):
        kinds = {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "RescaleType": "HU"}
        times = {"AcquisitionNumber": 1, "AcquisitionDate": "20200101", "AcquisitionTime": "000000"}
        contents = {"ContentDate": "20200101", "ContentTime": "000000", "StudyDate": "20200101",
                    "StudyTime": "000000", "PositionReferenceIndicator": ""}  # fmt: skip
        more = {"RescaleSlope": 2, "RescaleIntercept": -1024, **kinds, **times, **contents, **more}
        return write_slices("s", values, **more)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [3, 1, 0, 4, 2]])
    def test_frames_in_any_order_are_rescaled_and_fit_their_labels(
        self, tmp_path, write_slices, values, order
    ):
        folder = self.series(write_slices, values)
        labels = write_seg(tmp_path / "seg.dcm", folder, {"box": values > 500})
        image = self.shuffled(folder, order)
        np.testing.assert_allclose(read_geometry(image).affine, read_geometry(folder).affine)
        found = read_voxels(image)
        np.testing.assert_array_equal(found, in_body_order(values) * 2.0 - 1024)
        layers = read_volume_labels(labels, image).layers
        np.testing.assert_array_equal(layers[0] > 0, found > 500 * 2 - 1024)
        assert read_dicom_window(image) is None

    @pytest.mark.filterwarnings("ignore")
    def test_the_window_of_the_frames(self, write_slices, values):
        folder = self.series(write_slices, values, WindowCenter=40, WindowWidth=400)
        assert read_dicom_window(self.shuffled(folder, [1, 0, 2, 4, 3])) == (-160, 240)


class TestPictures:
    def picture(self, folder, **attributes):
        file = next(folder.iterdir())
        dataset = pydicom.dcmread(file)
        for name, value in attributes.items():
            setattr(dataset, name, value)
        dataset.save_as(file)
        return file

    def test_grey_ones_are_shown_by_their_window(self, write_slices):
        ramp = np.arange(-100, 156, 1, np.int16).reshape(1, 16, 16)
        file = self.picture(write_slices("s", ramp), WindowCenter=27.5, WindowWidth=255)
        np.testing.assert_array_equal(read_image(file)[..., 0], np.arange(256).reshape(16, 16))
        ranged = read_image(file, value_range=(-100, 27.5))[..., 0]
        assert (ranged == 255).mean() > 0.49

    def test_inverted_ones_are_turned(self, write_slices):
        ramp = np.arange(256, dtype=np.int16).reshape(1, 16, 16)
        folder = write_slices("s", ramp, PhotometricInterpretation="MONOCHROME1",
                              WindowCenter=127.5, WindowWidth=255)  # fmt: skip
        shown = read_image(next(folder.iterdir()))[..., 0]
        np.testing.assert_array_equal(shown, np.arange(256)[::-1].reshape(16, 16))

    def test_colours(self, write_slices):
        colours = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
        file = self.picture(
            write_slices("s", np.zeros((1, 8, 6), np.int16)),
            SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0,
            BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0,
            PixelData=colours.tobytes(),
        )  # fmt: skip
        np.testing.assert_array_equal(read_image(file), colours)

    def test_several_frames_are_a_volume(self, write_slices):
        frames = np.arange(3 * 8 * 6, dtype=np.int16).reshape(3, 8, 6)
        file = self.picture(
            write_slices("s", frames[:1]), NumberOfFrames=3, PixelData=frames.tobytes()
        )
        with pytest.raises(UserError, match="3 frames"):
            read_pixels(file)
        np.testing.assert_array_equal(read_voxels(file), in_body_order(frames))


class TestFilms:
    """Frames that have no positions."""

    def film(self, write_slices, lacks=(), **attributes):
        frames = np.arange(3 * 8 * 6, dtype=np.int16).reshape(3, 8, 6)
        more = {"NumberOfFrames": 3, "PixelData": frames.tobytes(), **attributes}
        file = TestPictures().picture(write_slices("film", frames[:1]), **more)
        dataset = pydicom.dcmread(file)
        for name in (*lacks, "ImagePositionPatient"):
            delattr(dataset, name)
        dataset.save_as(file)
        return file

    @pytest.mark.parametrize(
        ("given", "distance"),
        [({"SpacingBetweenSlices": 4}, 4), ({"SpacingBetweenSlices": -4}, 4), ({}, 3)],
    )
    def test_frames_are_as_far_apart_as_the_file_says(self, write_slices, given, distance):
        geometry = read_geometry(self.film(write_slices, **given))
        assert geometry.spacing == pytest.approx((0.5, 0.8, distance))

    def test_what_the_file_does_not_say_is_not_known(self, write_slices):
        file = self.film(write_slices, ["SliceThickness"])
        np.testing.assert_allclose(read_geometry(file).spacing, (0.5, 0.8, np.nan))
        file = self.film(write_slices, ["SliceThickness", "PixelSpacing"])
        assert np.isnan(read_geometry(file).spacing).all()
        assert read_geometry(file).is_regular

    def test_a_single_slice_is_as_thick_as_it_says(self, write_slices, values):
        folder = write_slices("s", values[:1])
        assert read_geometry(folder).spacing == pytest.approx((0.5, 0.8, 3.0))
        (file,) = folder.iterdir()
        dataset = pydicom.dcmread(file)
        del dataset.SliceThickness
        dataset.save_as(file)
        np.testing.assert_allclose(read_geometry(folder).spacing, (0.5, 0.8, np.nan))


class TestSegmentations:
    def test_segments_keep_their_names_and_may_overlap(self, tmp_path, write_slices, values):
        folder = write_slices("s", values)
        liver, lesion = np.zeros(values.shape, bool), np.zeros(values.shape, bool)
        liver[1:4, 2:7, 1:5], lesion[2:4, 3:5, 2:4] = True, True
        path = write_seg(tmp_path / "seg.dcm", folder, {"liver": liver, "lesion": lesion})
        found = read_volume_labels(path, folder)
        assert found.names == {1: "liver", 2: "lesion"}
        np.testing.assert_array_equal(found.layers[0] == 1, in_body_order(liver))
        np.testing.assert_array_equal(found.layers[1] == 2, in_body_order(lesion))

    @settings(
        max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.integers(0, 2**31))
    def test_what_is_written_is_read_back_equal(self, tmp_path, write_slices, seed):
        mask = np.random.default_rng(seed).random((4, 5, 6)) > 0.6
        folder = write_slices(f"s{seed}", np.zeros(mask.shape, np.int16))
        found = read_volume_labels(write_seg(tmp_path / "a.dcm", folder, {"a": mask}), folder)
        np.testing.assert_array_equal(found.layers[0] > 0, in_body_order(mask))


class TestStructures:
    def ring(self, x0, y0, x1, y1, slice_number):
        """A rectangle along voxel edges; voxel (0, 0, 0) has its centre at (10, 20, 30) mm."""
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float) - 0.5
        z = np.full((4, 1), 30 + 3.0 * slice_number)
        return np.hstack([corners * (0.5, 0.8) + (10, 20), z])

    def test_contours_are_filled_and_inner_ones_are_holes(
        self, tmp_path, write_slices, write_rtstruct, values
    ):
        folder = write_slices("s", values)
        path = write_rtstruct(
            tmp_path / "rt.dcm",
            {"PTV": [self.ring(1, 1, 5, 7, 2), self.ring(2, 3, 4, 5, 2), self.ring(0, 0, 2, 2, 4)],
             "heart": [self.ring(3, 1, 6, 4, 2)]},
        )  # fmt: skip
        found = read_volume_labels(path, folder)
        target, heart = np.zeros(values.shape, bool), np.zeros(values.shape, bool)
        target[2, 1:7, 1:5], target[2, 3:5, 2:4], target[4, :2, :2] = True, False, True
        heart[2, 1:4, 3:6] = True
        assert found.names == {1: "PTV", 2: "heart"}
        np.testing.assert_array_equal(found.layers[0] == 1, in_body_order(target))
        np.testing.assert_array_equal(found.layers[1] == 2, in_body_order(heart))

    def test_contours_to_be_combined_are(self, tmp_path, write_slices, write_rtstruct, values):
        folder = write_slices("s", values)
        rings = [self.ring(1, 1, 5, 7, 2), self.ring(2, 3, 4, 5, 2)]
        found = [
            read_volume_labels(
                write_rtstruct(tmp_path / f"{kind}.dcm", {"PTV": rings}, {"PTV": kind}), folder
            ).layers
            for kind in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
        ]
        np.testing.assert_array_equal(*found)
        assert found[1].sum() == 24 - 4
        assert not read_label_notes(tmp_path / "CLOSEDPLANAR_XOR.dcm")

    def test_points_and_open_lines_are_named(self, tmp_path, write_slices, write_rtstruct, values):
        folder = write_slices("s", values)
        regions = {
            "liver": [self.ring(1, 1, 5, 7, 2)],
            "iso": [self.ring(1, 1, 5, 7, 2)[:1]],
            "needle": [self.ring(1, 1, 5, 7, n) for n in (2, 3)],
        }
        kinds = {"iso": "POINT", "needle": "OPEN_PLANAR"}
        path = write_rtstruct(tmp_path / "rt.dcm", regions, kinds)
        assert read_volume_labels(path, folder).layers.max() == 1
        (note,) = read_label_notes(path)
        assert "rt.dcm: 1 POINT of iso left out; 2 OPEN_PLANAR of needle left out" in note
        del regions["liver"]
        write_rtstruct(path, regions, kinds)
        with pytest.raises(UserError, match="lies on its image: 1 POINT of iso left out"):
            read_volume_labels(path, folder)

    def test_those_between_slices_or_elsewhere_are_refused(
        self, tmp_path, write_slices, write_rtstruct, values
    ):
        folder = write_slices("s", values)
        slanted = self.ring(1, 1, 5, 7, 2)
        slanted[0, 2] += 9
        beside = self.ring(1, 1, 5, 7, 2)
        beside[:, 2] += 1  # a third of a slice
        for contour in (slanted, beside):
            path = write_rtstruct(tmp_path / "a.dcm", {"liver": [contour]})
            with pytest.raises(UserError, match=r"a\.dcm: a contour of liver .*between the slices"):
                read_volume_labels(path, folder)
        far = [self.ring(1, 1, 5, 7, 99)]
        with pytest.raises(UserError, match=r"no object .* lies on its image"):
            read_volume_labels(write_rtstruct(tmp_path / "b.dcm", {"a": far}), folder)

    def test_nearly_on_a_slice_is_on_it(self, tmp_path, write_slices, write_rtstruct, values):
        folder = write_slices("s", values)
        contour = self.ring(1, 1, 5, 7, 2)
        contour[:, 2] += 0.5
        layers = read_volume_labels(
            write_rtstruct(tmp_path / "a.dcm", {"a": [contour]}), folder
        ).layers
        assert (layers > 0).sum(axis=(0, 1, 2)).tolist() == [0, 0, 24, 0, 0]

    def test_drawn_finer_than_the_image_is_refused(
        self, tmp_path, write_slices, write_rtstruct, values
    ):
        folder = write_slices("s", values)
        contours = [self.ring(1, 1, 5, 7, number / 3) for number in range(3, 9)]
        with pytest.raises(UserError, match="between the slices"):
            read_volume_labels(write_rtstruct(tmp_path / "a.dcm", {"a": contours}), folder)

    @pytest.mark.parametrize("given", [(0, 1), (-1, 5), (3, 3)])
    def test_numbers_that_are_no_labels_become_1_and_2(
        self, tmp_path, write_slices, write_rtstruct, values, given
    ):
        folder = write_slices("s", values)
        rings = {"PTV": [self.ring(0, 0, 2, 2, 1)], "heart": [self.ring(3, 1, 6, 4, 2)]}
        path = write_rtstruct(tmp_path / "rt.dcm", rings)
        dataset = pydicom.dcmread(path)
        for number, region, drawn in zip(
            given, dataset.StructureSetROISequence, dataset.ROIContourSequence, strict=True
        ):
            region.ROINumber = drawn.ReferencedROINumber = number
        dataset.save_as(path)
        found = read_volume_labels(path, folder)
        assert list(found.names) == [1, 2]
        if given[0] != given[1]:
            assert found.names == {1: "PTV", 2: "heart"}
        assert [(found.layers == number).sum() for number in (1, 2)] == [4, 9]

    def test_many_that_overlap_take_a_byte_a_voxel(self, tmp_path, write_slices, write_rtstruct):
        shape = (20, 64, 64)
        folder = write_slices("s", np.zeros(shape, np.int16))
        rings = {str(number): [self.ring(1, 1, 60, 60, 2)] for number in range(12)}
        path, geometry = write_rtstruct(tmp_path / "rt.dcm", rings), read_geometry(folder)
        tracemalloc.start()
        layers, names = read_dicom_labels(path, geometry)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert layers.shape == (12, 64, 64, 20)
        assert layers.dtype == np.uint8
        assert len(names) == 12
        assert peak < 1.5 * layers.nbytes

    def test_images_are_no_labels(self, write_slices, values):
        folder = write_slices("s", values)
        with pytest.raises(UserError, match="modality CT"):
            read_volume_labels(next(folder.iterdir()), folder)


def test_a_slice_that_does_not_say_how_it_is_rescaled_is_refused(values, write_slices):
    folder = write_slices("s", values, RescaleSlope=1, RescaleIntercept=-1024)
    file = sorted(folder.iterdir())[1]
    dataset = pydicom.dcmread(file)
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.save_as(file)
    with pytest.raises(UserError, match=r"1 of \d+ slices of .* do not say how their values are"):
        read_geometry(folder)
