"""Numbers within bounds, as types: what makes sense is said where a setting or argument is declared.

msgspec holds settings to them, `tasks.arguments` the arguments of tasks; NaN is in no range.
"""

from typing import Annotated

from msgspec import Meta

MOST = 1e15  # nothing that is meant is larger, and infinity is not below it
# Whole numbers: from 0, from 1, and from 0 with -1 for a choice that is made by the data
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
CountOrChoice = Annotated[int, Meta(ge=-1)]
# Numbers: finite; from 0; above 0; from 0 to 1; from 0 with -1 for that of the recipe
Finite = Annotated[float, Meta(gt=-MOST, lt=MOST)]
NotNegative = Annotated[float, Meta(ge=0, lt=MOST)]
AboveZero = Annotated[float, Meta(gt=0, lt=MOST)]
Share = Annotated[float, Meta(ge=0, le=1)]
ShareOrRecipe = Annotated[float, Meta(ge=-1, le=1)]
WeightOrRecipe = Annotated[float, Meta(ge=-1, lt=MOST)]
# Grids of points for automatic masks: more than this a side is a slip of the finger
PointsPerSide = Annotated[int, Meta(ge=1, le=512)]
