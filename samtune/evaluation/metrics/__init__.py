"""How near a predicted mask is to the truth: one module for each kind of measure.

What empty masks count as, everywhere: two empty masks are equal (1, distance 0); one empty mask of
the two shares nothing (0, and the greatest distance there can be, the diagonal of the image).
Objects without a pixel do not enter an evaluation, so that the first case never flatters a mean.
"""
