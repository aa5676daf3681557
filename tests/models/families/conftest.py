"""Every family at a size that is built in no time, see tiny.py."""

import pytest

from samtune.models.families.edgetam import EdgeTamFamily
from tests.models.families.tiny import FAMILY_NAMES, build_member


@pytest.fixture(autouse=True)
def _edgetam_needs_no_timm_here(monkeypatch):
    monkeypatch.setattr(EdgeTamFamily, "require", classmethod(lambda cls: None))


@pytest.fixture(scope="session", params=FAMILY_NAMES)
def family_name(request):
    return request.param


@pytest.fixture(scope="session")
def make_member():
    """A function that builds a fresh tiny network of a family from a seed."""
    return build_member


@pytest.fixture(scope="session")
def member(make_member, family_name):
    """A tiny network of each family that no test may change."""
    return make_member(family_name)


@pytest.fixture
def fresh(make_member, family_name):
    """A tiny network of each family that a test may change."""
    return make_member(family_name)
