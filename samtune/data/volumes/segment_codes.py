"""What a segment of DICOM SEG is, in codes: its property's category and type.

Codes are of a scheme, mostly SNOMED CT (`SCT`); which ones the standard proposes is in its context
groups (CID) 7150 for categories and 7151 for types:
https://dicom.nema.org/medical/dicom/current/output/chtml/part16/sect_CID_7150.html
"""

from typing import Any, NamedTuple

from samtune.errors import UserError, require

# Characters that a scheme and a value, VR SH, and a meaning, VR LO, may have (PS3.5, section 6.2).
_LENGTHS = (16, 16, 64)
# Context groups whose types are of a category; those of no group are anatomical structures.
_FINDINGS, _TISSUES, _DEVICES = ("CID7159",), ("CID7166", "CID7191"), ("CID7157", "CID7158")


class Code(NamedTuple):
    """A code with its scheme, such as SCT, 52988006, Lesion."""

    scheme: str
    value: str
    meaning: str


class SegmentProperty(NamedTuple):
    """What a segment is: its kind in general, and in particular."""

    category: Code
    type: Code


_TISSUE = Code("SCT", "85756007", "Tissue")
_CATEGORIES = (
    (_FINDINGS, Code("SCT", "49755003", "Morphologically Abnormal Structure")),
    (_TISSUES, _TISSUE),
    (_DEVICES, Code("SCT", "260787004", "Physical object")),
)
_ANATOMY = Code("SCT", "91723000", "Anatomical Structure")
# True of organs and lesions alike: a prompt does not say which of them it is on.
TISSUE = SegmentProperty(_TISSUE, _TISSUE)


def parse_property(text: str) -> SegmentProperty:
    """A type given as SCHEME:VALUE:MEANING, with the category of the context group that has it.

    Raises:
        UserError: it is none, or a part is longer than DICOM allows.
    """
    parts = [part.strip() for part in text.split(":", maxsplit=2)]
    is_sound = len(parts) == 3 and all(
        part.isprintable() and "\\" not in part and 0 < len(part) <= length
        for part, length in zip(parts, _LENGTHS, strict=False)
    )
    if not is_sound:
        raise UserError(
            f"'{text}' is no code: give SCHEME:VALUE:MEANING, such as SCT:52988006:Lesion (up to 16, "
            "16 and 64 characters without backslashes)"
        )
    kind = Code(*parts)
    return SegmentProperty(_category(kind), kind)


def _category(kind: Code) -> Code:
    codes: Any = require("pydicom.sr.codedict", "medical").codes
    for groups, category in _CATEGORIES:
        for group in (getattr(codes, name) for name in groups):
            found = (getattr(group, keyword) for keyword in group.dir())
            if kind[:2] in {(code.scheme_designator, code.value) for code in found}:
                return category
    return _ANATOMY
