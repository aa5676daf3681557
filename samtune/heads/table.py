"""All heads by name: a new one is a line here."""

from samtune.heads.classes import ClassHead
from samtune.heads.head import DenseHead
from samtune.heads.instances import InstanceHead
from samtune.heads.semantic import SemanticHead

HEADS: dict[str, type[DenseHead]] = {
    kind.name: kind for kind in (InstanceHead, SemanticHead, ClassHead)
}
