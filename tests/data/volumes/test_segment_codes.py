"""Codes of DICOM SEG: categories follow from the standard's context groups."""

import pytest

from samtune.data.volumes.segment_codes import Code, parse_property
from samtune.errors import UserError

pytest.importorskip("highdicom")


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("SCT:52988006:Lesion", "Morphologically Abnormal Structure"),
        ("SCT:91727004:Muscle", "Tissue"),
        ("SCT:10200004:Liver", "Anatomical Structure"),
        ("DCM:130655:Abdominal Compression Arch", "Physical object"),
        ("99MINE:7:something: else", "Anatomical Structure"),
    ],
)
def test_a_category_follows_from_the_type(text, category):
    kind = parse_property(text)
    assert kind.type == Code(*text.split(":", 2))
    assert (kind.category.scheme, kind.category.meaning) == ("SCT", category)


@pytest.mark.parametrize(
    "text", ["", "Lesion", "SCT:52988006", "SCT::Lesion", "SCT:1\\2:a", f"SCT:1:{'a' * 65}",
             "SCT:12345678901234567:a", "SCT:1:a\nb"],
)  # fmt: skip
def test_what_is_no_code_is_said(text):
    with pytest.raises(UserError, match="SCHEME:VALUE:MEANING"):
        parse_property(text)
