"""Label Studio's labelling configuration: which tag an answer is given by, and of which image.

    <View>
      <Image name="image" value="$image"/>
      <BrushLabels name="brush" toName="image"><Label value="cell"/></BrushLabels>
      <KeyPointLabels name="click" toName="image" smart="true"><Label value="cell"/></KeyPointLabels>
    </View>

Tags: https://labelstud.io/tags
"""

from collections.abc import Sequence
from dataclasses import dataclass

from samtune.errors import UserError
from samtune.parsing import parse_xml

# Shapes that are answered, the best first: a brush keeps every pixel.
SHAPES = ("brush", "polygon", "rectangle")


@dataclass(frozen=True)
class Control:
    """A tag that regions are made by.

    Attributes:
        name: `from_name` of its results.
        image: `to_name`, that of an Image tag.
        kind: such as brush.
        type: of its results, such as brushlabels or brush.
        labels: that it offers; empty where they are not told here.
    """

    name: str
    image: str
    kind: str
    type: str
    labels: tuple[str, ...]

    @property
    def has_labels(self) -> bool:
        return self.type.endswith("labels")

    def value(self, label: str) -> dict[str, list[str]]:
        """What a result's value says of its label."""
        return {self.type: [label]} if self.has_labels and label else {}


@dataclass(frozen=True)
class LabelConfig:
    """The tags of a project.

    Attributes:
        controls: those of shapes that are answered, the best shape first.
        images: key of a task's data by name of the Image tag.
    """

    controls: Sequence[Control]
    images: dict[str, str]

    def answer_to(self, label: str, image: str = "") -> Control:
        """The tag by which a region of a label is answered.

        Args:
            label: that the click had; empty without one.
            image: that it was on; empty for any.

        Raises:
            UserError: there is none.
        """
        fitting = [each for each in self.controls if image in ("", each.image)]
        if not fitting:
            raise UserError(
                "the labelling configuration has no BrushLabels, PolygonLabels or RectangleLabels "
                f"for {image or 'an image'}: add the one that masks are to become"
            )
        known = (each for each in fitting if not label or not each.labels or label in each.labels)
        found = next(known, None)
        if found is None:
            raise UserError(
                f"no tag that a mask can become has the label {label!r}: give "
                f"{fitting[0].name!r} the labels that the clicks have"
            )
        return found

    def key_of(self, image: str) -> str:
        """The key of a task's data that an Image tag shows.

        Raises:
            UserError: there is no such tag.
        """
        if image not in self.images:
            names = ", ".join(self.images) or "none"
            raise UserError(
                f"the labelling configuration has no image {image!r}, but these: {names}"
            )
        return self.images[image]


def read_config(text: str) -> LabelConfig:
    """Read a labelling configuration.

    Raises:
        UserError: it is none.
    """
    try:
        tags = list(parse_xml(text).iter())
    except ValueError as error:
        raise UserError(f"the labelling configuration cannot be read: {error}") from error
    images, controls = {}, []
    for tag in tags:
        kind = tag.tag.lower()
        shown = tag.get("value") or tag.get("valueList") or ""
        if kind == "image" and shown.startswith("$"):
            images[tag.get("name", "")] = shown[1:]
        shape = kind.removesuffix("labels")
        if shape in SHAPES:
            is_told = not (tag.get("value") or tag.get("apiUrl"))
            inside = [each.get("value", "") for each in tag.iter() if each.tag.lower() == "label"]
            labels = tuple(inside) if is_told else ()
            for image in tag.get("toName", "").split(","):
                controls.append(Control(tag.get("name", ""), image.strip(), shape, kind, labels))
    controls.sort(key=lambda each: SHAPES.index(each.kind))
    return LabelConfig(controls, images)
