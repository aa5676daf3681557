"""`Reading`: how a file becomes what the network sees, the same in training and in use."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.images.intensity import as_range, to_uint8, window_range
from samtune.images.kinds import ImageFile
from samtune.images.pixels import read_image, show_pixels
from samtune.types import ImageArray, Stretch

Axis = Literal["auto", "sagittal", "coronal", "axial"]


@dataclass(frozen=True)
class Reading:
    """How pixels of files become images; made once from the settings of the data, saved with the model.

    Attributes:
        bands: channels in the order red, green, blue: numbers from 0, or names that a GeoTIFF has;
            `None` takes those that the file names, or the first three.
        stretch: `percentile` for dark or 16-bit images, `auto` to decide by image, or `none`.
        value_range: intensities that become 0 and 255, instead of a stretch.
        window: of CT: lung, bone, soft_tissue, brain, liver, or CENTRE,WIDTH in Hounsfield units.
        axis: the direction in which volumes are cut into slices; `auto` takes the one with clearly the
            coarsest spacing, or axial.
        with_neighbours: show the neighbours of a volume's slice as red and blue.
        tile: side of the tiles or windows that one image is, pixels; 0 is the whole image.

    Raises:
        UserError: a value makes no sense.
    """

    bands: tuple[int | str, ...] | None = None
    stretch: Stretch = "none"
    value_range: tuple[float, float] | None = None
    window: str = ""
    axis: Axis = "auto"
    with_neighbours: bool = False
    tile: int = 0

    def __post_init__(self) -> None:
        # lists come from YAML and JSON; a frozen object is compared, hashed and sent to processes
        object.__setattr__(self, "bands", tuple(self.bands) if self.bands else None)
        object.__setattr__(self, "value_range", as_range(self.value_range))
        if self.tile < 0:
            raise UserError(f"tile is {self.tile}: give pixels, 0 for the whole image")

    @property
    def intensity_range(self) -> tuple[float, float] | None:
        """What becomes 0 and 255 in every file; `None` where each is looked at by itself."""
        if self.value_range is not None or not self.window:
            return self.value_range
        return window_range(self.window)

    @property
    def is_plain(self) -> bool:
        """Whether pictures are taken as any program takes them."""
        return self.intensity_range is None and self.bands is None and self.stretch == "none"

    def read(self, path: str | ImageFile) -> ImageArray:
        """Read a picture as (H, W, 3) uint8 RGB, as those of the training were.

        Raises:
            UserError: the file is missing, damaged, of no known kind, or lacks a band.
        """
        return read_image(path, self.bands, self.stretch, self.intensity_range)

    def show(self, pixels: NDArray[Any], path: ImageFile) -> ImageArray:
        """(H, W, C) values of a picture as it is read.

        Args:
            pixels: as they are stored, in whatever files.
            path: what errors name.

        Raises:
            UserError: there are no values, or a band is lacking.
        """
        return show_pixels(pixels, path, self.bands, self.stretch, self.intensity_range)

    def stretched(self, image: ImageArray) -> ImageArray:
        """An (H, W, 3) uint8 image of any program, stretched as those of the training were.

        A range is of the file's own values, which 8-bit images no longer have: those stay.
        """
        if self.stretch == "none" or self.intensity_range is not None:
            return image
        return to_uint8(image, self.stretch)

    def changed(self, **values: Any) -> "Reading":
        """The same with other values.

        A stretch, a range and a window say what becomes 0 and 255: one that is given replaces the
        others.
        """
        nothing = {"stretch": "none", "value_range": None, "window": ""}
        if given := [name for name in nothing if values.get(name, nothing[name]) != nothing[name]]:
            values = {**{k: v for k, v in nothing.items() if k not in given}, **values}
        return replace(self, **values)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `Reading.from_dict` reads it back equal."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Reading":
        """What `as_dict` gave.

        Raises:
            TypeError: it holds something else.
        """
        if not isinstance(content, Mapping):
            raise TypeError(f"a reading is no {type(content).__name__}")
        unknown = content.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise TypeError(f"a reading has no {min(unknown)}")
        return cls(**content)
